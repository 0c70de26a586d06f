"""What ways to quantize cost on an Arm Ethos-U, as vela estimates it.

    KERAS_BACKEND=tensorflow python benchmarks/int8_npu.py

The deployed nets have random weights, on which cycles depend a little: vela
compresses them. With one scale for each kernel, ReLU6 becomes ReLU and a cap
for each channel, which is a MINIMUM in the file.
"""

import pathlib
import sys
import tempfile

import numpy as np

import keras_rep
from keras_rep import models, quantize
from keras_rep.models.repvgg import Configuration
from keras_rep.runtime import TFLiteRunner

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tflite"))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tflite/golden"))
import check_npu
import make

SIZE = (96, 96, 3)
SHARED = {
    "input_shape": SIZE,
    "classes": 10,
    "classifier_activation": None,
    "padding": "same",
}
SMALL = Configuration((1, 2, 4, 1), (0.25, 0.25, 0.25, 0.5), 1, False)
NETS = {
    "MobileNetV2, width 0.35": lambda: models.MobileNetV2(0.35, **SHARED),
    "RepVGG, width 0.25": lambda: models.RepVGG(SMALL, **SHARED),
    "MobileNetV3-small": lambda: models.MobileNetV3("small", **SHARED),
}


def give_weights(model, seed):
    """Normal kernels, of channels of different sizes, as training has them."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "kernel" in variable.name:
            shape = variable.shape
            # A depthwise one has one filter for each channel.
            axes = (0, 1) if shape[-1] == 1 else tuple(range(len(shape) - 1))
            value = rng.normal(size=shape)
            value /= np.sqrt(np.square(value).sum(axes, keepdims=True) / 2)
            value *= np.exp(rng.normal(0, 0.3, value.shape[-2:]))
            variable.assign(value.astype("float32"))


def ways(model, data, path):
    """Yields names, and files written to a path, of a deployed model."""

    def export(net, **options):
        # Cycles do not depend on what a comparison of outputs finds.
        return keras_rep.export_tflite(
            net, path, quantization="int8", **options
        )

    def with_data(**options):
        return export(model, representative_data=data, **options)

    yield "TensorFlow's converter", with_data(as_is=True)
    yield "`export_tflite`", with_data()
    yield (
        "TensorFlow's converter, per tensor",
        with_data(as_is=True, per_tensor=True),
    )
    yield "`export_tflite`, per tensor", with_data(per_tensor=True)
    capped = quantize.equalize(quantize.repair(model, data))
    ranges = quantize.calibrate(capped, data)
    yield (
        "per tensor, `equalize` with caps",
        export(capped, ranges=ranges, per_tensor=True),
    )


def main():
    print(f"Vela's estimates for {check_npu.ACCELERATOR}, images {SIZE}\n")
    print(
        "| net | quantization | MINIMUM | on the NPU | on the CPU | cycles | "
        "to the first | SRAM | flash |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for seed, (name, build) in enumerate(NETS.items()):
        model = build()
        give_weights(model, seed)
        data = make.pictures(np.random.default_rng(seed), 40, SIZE)
        plain = keras_rep.deploy(model)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "net.tflite")
            first = None
            for way, file in ways(plain, data, path):
                result = check_npu.compile_for_npu(file)
                first = first or result.cycles
                minimums = TFLiteRunner(file).operations.get("MINIMUM", 0)
                cells = [
                    *(name, way, str(minimums)),
                    str(result.npu_operators),
                    str(len(result.cpu_operators)),
                    f"{result.cycles:,}",
                    f"{result.cycles / first:.2f}",
                    check_npu.kib(result.sram),
                    check_npu.kib(result.flash),
                ]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
