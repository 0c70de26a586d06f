"""Quantization-aware training on every backend: accuracy and time.

    KERAS_BACKEND=jax python benchmarks/int8_training.py

A small net learns Fashion-MNIST, and gets a file of integers. Its deployed form
is trained on, in floating point, and with rounded numbers, which makes another
file. "Agree" is the share of the 10,000 images of the test for which that file
chooses the class that the rounded model does. A step is one of training with
50 images, "ratio" that of the rounded model to the deployed one.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import keras
import numpy as np
from interleaved import measure, ratio

import keras_rep
from keras_rep import quantize
from keras_rep.difference import agreement
from keras_rep.layers import RepConv
from keras_rep.runtime import TFLiteRunner

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples"))
from datasets import fashion_mnist

# Filters, number of layers; the first one has stride 2.
STAGES = [(16, 2), (32, 2)]
IMAGES, BATCH, CALIBRATION = 5000, 50, 200
EPOCHS, RATE = 8, 3e-3
TUNING_EPOCHS, TUNING_RATE = 2, 3e-4


def build():
    layers = [keras.Input((28, 28, 1), name="image")]
    for filters, count in STAGES:
        layers += [
            RepConv(filters, strides=1 if i else 2, activation="relu")
            for i in range(count)
        ]
    layers.append(keras.layers.GlobalAveragePooling2D(name="pool"))
    return keras.Sequential([*layers, keras.layers.Dense(10, name="logits")])


def train(model, data, epochs, rate):
    compile_model(
        model,
        keras.optimizers.schedules.CosineDecay(
            rate, epochs * (len(data[0]) // BATCH)
        ),
    )
    model.fit(*data, BATCH, epochs, verbose=0)


def compile_model(model, rate):
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )


class Test:
    """The images and labels to be tested on."""

    def __init__(self, images, labels, folder):
        self.images, self.labels = images, labels
        self.path = pathlib.Path(folder, "net.tflite")

    def predict(self, model):
        return model.predict(self.images, 500, verbose=0)

    def export(self, model, **options):
        """Writes a file, and returns what it does."""
        path = keras_rep.export_tflite(
            model, self.path, quantization="int8", **options
        )
        (logits,) = TFLiteRunner(path)({"image": self.images}).values()
        return logits

    def right(self, logits):
        share = np.mean(logits.argmax(-1) == self.labels)
        return f"{100 * share:.2f} %"


def seconds_per_step(models, data):
    """Dictionary from names to seconds, of steps that took turns."""
    batch = data[0][:BATCH], data[1][:BATCH]
    functions = {}
    for name, model in models.items():
        compile_model(model, 1e-6)
        functions[name] = lambda model=model: model.train_on_batch(*batch)
    return measure(functions, rounds=40, repeats=5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", choices=quantize.WEIGHTS, nargs="+")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    (images, labels), (test_images, test_labels) = fashion_mnist()
    data = images[:IMAGES], labels[:IMAGES]
    with tempfile.TemporaryDirectory() as folder:
        test = Test(test_images, test_labels, folder)
        model = build()
        train(model, data, EPOCHS, RATE)
        expected = test.predict(model)
        longer = keras_rep.deploy(model)
        train(longer, data, TUNING_EPOCHS, TUNING_RATE)
        floats = test.right(expected), test.right(test.predict(longer))
        print(
            "| backend | weights | float | trained on | file | rounded, "
            "trained on | its file | agree | training | step | ratio |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        for weights in arguments.weights or quantize.WEIGHTS:
            row(model, test, data, floats, weights)


def row(model, test, data, floats, weights):
    """Prints a row of the table."""
    samples = data[0][:CALIBRATION]
    per_tensor = weights == "per_tensor"
    before = test.export(
        model, representative_data=samples, per_tensor=per_tensor
    )
    repaired = quantize.repair(model, samples)
    ranges = quantize.calibrate(repaired, samples)
    rounded = quantize.fake_quantize(repaired, ranges, weights=weights)
    start = time.perf_counter()
    train(rounded, data, TUNING_EPOCHS, TUNING_RATE)
    seconds = time.perf_counter() - start
    simulated = test.predict(rounded)
    after = test.export(rounded)
    plain = keras_rep.deploy(model)
    times = seconds_per_step({"plain": plain, "rounded": rounded}, data)
    cells = [
        keras.backend.backend(),
        weights.replace("_", " "),
        *floats,
        test.right(before),
        test.right(simulated),
        test.right(after),
        f"{100 * agreement(simulated, after):.2f} %",
        f"{seconds:.0f} s",
        f"{1000 * np.median(times['rounded']):.1f} ms",
        f"{ratio(times['rounded'], times['plain']):.2f}",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
