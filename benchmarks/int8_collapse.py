"""How nets of re-parameterizable layers keep their accuracy in int8.

    KERAS_BACKEND=jax python benchmarks/int8_collapse.py --block RepConv

A net of 16 layers learns Fashion-MNIST the way in which RepVGG collapses: with
a high learning rate from the first step, an epsilon of 1e-5, and no decay of
the gammas. In some nets a channel dies and stays dead (seeds 3, 19 and 20 of
the three that were tried). What was trained is kept in `out/int8`, and not
trained again.
"""

import argparse
import pathlib
import sys
import time

import keras
import numpy as np

import keras_rep
from keras_rep import quantize
from keras_rep.runtime import TFLiteRunner

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples"))
from datasets import DATASETS

# Filters, number of layers; the first one has stride 2.
STAGES = [(16, 5), (32, 8), (64, 3)]
BLOCKS = ("RepConv", "QARepConv", "MobileOneConv", "DBBConv", "OREPAConv")
IMAGES, BATCH, EPOCHS = 20_000, 128, 3
PEAK, MOMENTUM, DECAY = 0.4, 0.9, 1e-3
CALIBRATION = 500
# Of the pixels of Fashion-MNIST.
MEAN, DEVIATION = 0.286, 0.353


def build(block, seed):
    """The net, not trained."""
    keras.utils.set_random_seed(seed)
    layer_type = getattr(keras_rep.layers, block)
    # Of the loss, as PyTorch has it: half the square, times the decay.
    regularizer = keras.regularizers.L2(DECAY / 2)
    layers = [keras.Input((28, 28, 1), name="image")]
    for filters, count in STAGES:
        layers += [
            layer_type(
                filters,
                strides=1 if number else 2,
                activation="relu",
                kernel_regularizer=regularizer,
            )
            for number in range(count)
        ]
    return keras.Sequential(
        [
            *layers,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(
                10, kernel_regularizer=regularizer, name="logits"
            ),
        ]
    )


def compile_for(model, optimizer):
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )


def trained(block, seed, data):
    """The net, trained now or in an earlier run."""
    path = pathlib.Path("out", "int8", f"{block}_{seed}.keras")
    if path.exists():
        return keras.models.load_model(path)
    model = build(block, seed)
    steps = EPOCHS * (IMAGES // BATCH)
    compile_for(
        model,
        keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(PEAK, steps),
            momentum=MOMENTUM,
            nesterov=True,
        ),
    )
    images, labels = (x[: IMAGES // BATCH * BATCH] for x in data)
    start = time.perf_counter()
    model.fit(images, labels, BATCH, EPOCHS, verbose=0)
    seconds = time.perf_counter() - start
    print(f"{block} {seed}: trained in {seconds:.0f} s", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return model


def accuracy_of(predictions, labels):
    return 100 * float(np.mean(predictions.argmax(-1) == labels))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", choices=BLOCKS, default=BLOCKS[0])
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="of QAT")
    arguments = parser.parse_args()
    name = f"{arguments.block} {arguments.seed}"
    train, (images, labels) = (
        ((images - MEAN) / DEVIATION, labels)
        for images, labels in DATASETS["fashion-mnist"]()
    )
    model = trained(arguments.block, arguments.seed, train)
    calibration = train[0][:CALIBRATION]
    accurate = model.predict(images, BATCH * 4, verbose=0)
    print(f"{name}: float {accuracy_of(accurate, labels):.2f}", flush=True)
    for what, net in {
        "before": model,
        "after": quantize.repair(model, calibration),
    }.items():
        spreads = [each.spread for each in quantize.kernel_health(net)]
        print(f"{name}: largest spread {what} repair {max(spreads):.1f}")
    gains = [x.identity_gain or 0 for x in quantize.kernel_health(model)]
    print(f"{name}: largest identity gain {max(gains):.1f}")
    folder = pathlib.Path("out", "int8")

    def report(what, net, **options):
        if not quantize.is_fake_quantized(net):
            options["representative_data"] = calibration
        path = keras_rep.export_tflite(
            net, folder / "net.tflite", quantization="int8", **options
        )
        (received,) = TFLiteRunner(path)({"image": images}).values()
        print(f"{name}: {what} {accuracy_of(received, labels):.2f}", flush=True)
        return received

    for weights in quantize.WEIGHTS:
        per_tensor = weights == "per_tensor"
        options = {"per_tensor": True} if per_tensor else {}
        report(f"plain converter, {weights}", model, as_is=True, **options)
        report(f"default, {weights}", model, **options)
        repaired = quantize.repair(model, calibration)
        ranges = quantize.calibrate(repaired, calibration)
        rounded = quantize.fake_quantize(repaired, ranges, weights=weights)
        schedule = keras.optimizers.schedules.CosineDecay(1e-4, arguments.steps)
        compile_for(rounded, keras.optimizers.Adam(schedule, clipnorm=1.0))
        order = np.random.default_rng(0).permutation(IMAGES)
        order = order[: arguments.steps * BATCH]
        start = time.perf_counter()
        rounded.fit(train[0][order], train[1][order], BATCH, verbose=0)
        seconds = time.perf_counter() - start
        simulated = rounded.predict(images, BATCH * 4, verbose=0)
        received = report(f"trained, {weights}", rounded)
        same = np.mean(simulated.argmax(-1) == received.argmax(-1))
        print(
            f"{name}: training took {seconds:.0f} s, model "
            f"{accuracy_of(simulated, labels):.2f}, file agrees {same:.2%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
