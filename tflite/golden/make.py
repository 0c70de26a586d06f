"""Makes the golden models: small int8 files, with inputs and outputs.

    python tflite/golden/make.py            # writes the files
    python tflite/golden/make.py --table    # prints what an NPU gains

Seeds are fixed, so the same versions of all packages give the same bytes.
"""

import argparse
import pathlib
import sys
import tempfile

import keras
import numpy as np
from keras import layers

import keras_rep
from keras_rep.export.quantization import Quantization
from keras_rep.export.tflite import convert_tflite
from keras_rep.layers import (
    ACBConv,
    DBBConv,
    DiracConv,
    MobileOneConv,
    OREPAConv,
    QARepConv,
    RepConv,
    RMInvertedResidual,
)

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

import check_npu  # noqa: E402
import tflite_file  # noqa: E402

SAMPLES = 4

# All heads but one are 1×1 convolutions: LiteRT rounds `Dense` in floating
# point, so that other runtimes differ by one step (LiteRT issue 8567).


def rep_conv():
    """RepVGG's block, with strides and groups, on odd and unequal sizes."""
    image = keras.Input((31, 24, 3), name="image")
    x = RepConv(8, strides=2, activation="relu", name="stem")(image)
    x = RepConv(16, strides=2, activation="relu", name="down")(x)
    x = RepConv(16, groups=2, activation="relu", name="grouped")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(10, name="score")(x)
    return keras.Model(image, x, name="rep_conv")


def mobile_one():
    """MobileOne: depthwise and 1×1 in turns, one with squeeze-and-excite."""
    image = keras.Input((32, 32, 3), name="image")
    x = MobileOneConv(16, strides=2, activation="relu", name="stem")(image)
    for i, (filters, strides) in enumerate([(24, 2), (32, 1)]):
        channels = x.shape[-1]
        x = MobileOneConv(
            channels,
            strides=strides,
            groups=channels,
            activation="relu",
            se_ratio=0.25 if i else None,
            name=f"depthwise{i}",
        )(x)
        x = MobileOneConv(filters, 1, activation="relu", name=f"point{i}")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Conv2D(10, 1, activation="softmax", name="score")(x)
    return keras.Model(image, x, name="mobile_one")


def dilated():
    """A dense prediction with dilated blocks of many branches."""
    image = keras.Input((20, 28, 3), name="image")
    x = DBBConv(8, strides=2, activation="relu", name="dbb")(image)
    x = DBBConv(8, dilation_rate=2, activation="relu", name="dbb_wide")(x)
    x = OREPAConv(12, dilation_rate=2, activation="relu", name="orepa_wide")(x)
    x = ACBConv(12, dilation_rate=(1, 2), activation="relu", name="acb")(x)
    x = layers.Conv2D(3, 1, name="map")(x)
    return keras.Model(image, x, name="dilated")


def qarep():
    """QARepVGG, which is made for int8."""
    image = keras.Input((24, 24, 3), name="image")
    x = QARepConv(8, strides=2, activation="relu6", name="stem")(image)
    x = QARepConv(16, strides=2, activation="relu6", name="down")(x)
    x = QARepConv(16, activation="relu6", name="same")(x)
    x = DiracConv(16, activation="relu6", name="dirac")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Conv2D(10, 1, name="score")(x)
    return keras.Model(image, x, name="qarep")


def inverted_residual():
    """MobileNetV2's block, whose addition is gone after deploying."""
    image = keras.Input((24, 24, 3), name="image")
    x = RepConv(8, strides=2, activation="relu6", name="stem")(image)
    x = RMInvertedResidual(8, expansion=3, name="first")(x)
    x = RMInvertedResidual(12, expansion=3, strides=2, name="second")(x)
    x = RMInvertedResidual(12, activation="relu", expansion=3, name="third")(x)
    x = layers.Conv2D(5, 1, name="map")(x)
    return keras.Model(image, x, name="inverted_residual")


def per_tensor():
    """One scale for each kernel, as some NPUs need it."""
    image = keras.Input((24, 24, 3), name="image")
    x = QARepConv(8, strides=2, activation="relu", name="stem")(image)
    x = RepConv(8, groups=8, activation="relu", name="depthwise")(x)
    x = QARepConv(16, strides=2, activation="relu", name="down")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Conv2D(10, 1, name="score")(x)
    return keras.Model(image, x, name="per_tensor")


def two_ends():
    """Two inputs and two outputs."""
    left = keras.Input((16, 16, 3), name="left")
    right = keras.Input((8, 8, 2), name="right")
    x = RepConv(8, strides=2, activation="relu", name="from_left")(left)
    y = RepConv(8, activation="relu", name="from_right")(right)
    x = layers.Concatenate(name="both")([x, y])
    x = RepConv(12, activation="relu", name="body")(x)
    heatmap = RepConv(2, name="heatmap")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Conv2D(5, 1, name="head")(x)
    score = layers.Flatten(name="score")(x)
    return keras.Model(
        {"left": left, "right": right},
        {"heatmap": heatmap, "score": score},
        name="two_ends",
    )


MODELS = (
    rep_conv,
    mobile_one,
    dilated,
    qarep,
    inverted_residual,
    per_tensor,
    two_ends,
)


def randomize(model, seed):
    """Gives every variable a value that would show a mistake in a fold.

    Args:
        model: A model, whose variables are changed.
        seed: Seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = variable.shape
        if "variance" in variable.name:
            value = rng.uniform(0.3, 2.0, shape)
        elif "kernel" in variable.name:
            fan_in = max(int(np.prod(shape[:-1])), 1)
            value = rng.normal(size=shape) / np.sqrt(fan_in)
        elif any(word in variable.name for word in ("beta", "mean", "bias")):
            # Small: outputs must depend on the input more than on these.
            value = rng.normal(0, 0.3, shape)
        else:
            value = rng.normal(size=shape)
        variable.assign(value.astype("float32"))


def prepare(seed, build):
    """A golden model before deploying, and data to find ranges with."""
    model = build()
    randomize(model, seed)
    rng = np.random.default_rng(seed)
    data = {x.name: pictures(rng, 100, x.shape[1:]) for x in model.inputs}
    return model, data


def pictures(rng, count, shape):
    """Noise of another colour in every picture, so that outputs differ."""
    colours = rng.uniform(-1, 1, (count, 1, 1, shape[-1]))
    noise = rng.uniform(-1, 1, (count, *shape))
    return (colours + noise).astype("float32")


def quantize(file, data):
    """The first pictures as a file takes them, in the order of its inputs."""
    runner = tflite_file.reference_interpreter(file.content)
    names = runner.get_signature_runner().get_input_details()
    order = {x["index"]: data[name] for name, x in names.items()}
    samples = []
    for i in range(SAMPLES):
        sample = []
        for detail in runner.get_input_details():
            scale, zero_point = detail["quantization"]
            steps = np.round(order[detail["index"]][i : i + 1] / scale)
            sample.append(np.clip(steps + zero_point, -128, 127).astype("int8"))
        samples.append(sample)
    return samples


def write(folder):
    """Writes all golden models.

    Args:
        folder: `pathlib.Path` of an existing folder.
    """
    for seed, build in enumerate(MODELS):
        model, data = prepare(seed, build)
        path = keras_rep.export_tflite(
            model,
            folder / f"{build.__name__}.tflite",
            quantization="int8",
            representative_data=_inputs(data),
            per_tensor=build is per_tensor,
        )
        file = tflite_file.read(path)
        inputs = quantize(file, data)
        outputs = tflite_file.run_reference(file, inputs)
        columns = {
            f"{end}_{i}": np.stack(arrays)
            for end, rows in (("input", inputs), ("output", outputs))
            for i, arrays in enumerate(zip(*rows, strict=True))
        }
        np.savez_compressed(path.with_suffix(".npz"), **columns)
        print(f"{path.name}: {path.stat().st_size:,} bytes")


def table():
    """Prints, in Markdown, what deploying changes on the NPU."""
    print("| model | operators | cycles | SRAM | flash |")
    print("|---|---|---|---|---|")
    for seed, build in enumerate(MODELS):
        model, data = prepare(seed, build)
        chosen = Quantization.of("int8", build is per_tensor)
        after = check_npu.compile_for_npu(FOLDER / f"{build.__name__}.tflite")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "before.tflite"
            path.write_bytes(convert_tflite(model, chosen, list(data.values())))
            before = check_npu.compile_for_npu(path)
        pairs = [
            [
                _operators(x),
                f"{x.cycles:,}",
                check_npu.kib(x.sram),
                check_npu.kib(x.flash),
            ]
            for x in (before, after)
        ]
        cells = " | ".join(map(" → ".join, zip(*pairs, strict=True)))
        print(f"| `{build.__name__}` | {cells} |")


def _operators(result):
    count = len(result.cpu_operators)
    on_cpu = f" + {count} on the CPU" if count else ""
    return f"{result.npu_operators}{on_cpu}"


def _inputs(data):
    return data if len(data) > 1 else next(iter(data.values()))


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description="Makes the golden models.")
    parser.add_argument(
        "--table", action="store_true", help="print what an NPU gains"
    )
    options = parser.parse_args(arguments)
    if options.table:
        table()
    else:
        write(FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
