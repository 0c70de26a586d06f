"""What int8 costs torchvision's MobileNetV2 in accuracy, way by way.

    KERAS_BACKEND=tensorflow python benchmarks/int8_mobilenet.py

Ranges come from 100 photos of streets alone, which look like nothing that is
counted: 20 labelled photos of ImageNet's classes, and 100 without labels, on
which a file should choose the class that the model in floating point does.
"""

import pathlib
import sys
import tempfile
import time

import numpy as np
from edge_quantizer import quantize_alone, quantize_with_ranges

import keras_rep
from keras_rep import quantize
from keras_rep.difference import agreement, snr_db
from keras_rep.runtime import TFLiteRunner

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples"))
import imagenet


class Table:
    """Rows for files, each of which is run as soon as it is made."""

    def __init__(self, model):
        self.images, self.labels = imagenet.photos()
        self.more = imagenet.more_photos("classification")
        self.expected = model.predict(self.more, verbose=0)
        right = self._right(model.predict(self.images, verbose=0))
        print(
            f"| quantization | right of {len(self.labels)} | agree of "
            f"{len(self.more)} | SNR, dB | top logits saturated | seconds |"
        )
        print("|---|---|---|---|---|---|")
        print(f"| float32 | {right} | | | | |", flush=True)

    def add(self, name, make):
        """Prints a row; `make` returns a file's name or bytes."""
        start = time.perf_counter()
        file = make()
        seconds = time.perf_counter() - start
        runner = TFLiteRunner(file)
        right = self._right(_only(runner({"image": self.images})))
        received = _only(runner({"image": self.more}))
        agreeing = agreement(self.expected, received) * len(received)
        limit = _only(runner.largest_outputs)
        saturated = np.mean(received.max(-1) >= limit * (1 - 1e-6))
        print(
            f"| {name} | {right} | {agreeing:.0f} | "
            f"{snr_db(self.expected, received):.1f} | {saturated:.0%} | "
            f"{seconds:.0f} |",
            flush=True,
        )

    def _right(self, logits):
        return int(np.sum(logits.argmax(-1) == self.labels))


def _only(dictionary):
    (value,) = dictionary.values()
    return value


def main():
    model = imagenet.mobilenet_v2()
    streets = imagenet.more_photos("enhancement")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fill(Table(model), model, streets, folder)


def fill(table, model, streets, folder):
    """Prints all rows.

    Args:
        table: A `Table`.
        model: The model, not deployed.
        streets: Photos to find ranges with.
        folder: Where files may be written.
    """

    def export(net, **options):
        return keras_rep.export_tflite(
            net, folder / "int8.tflite", quantization="int8", **options
        )

    def with_data(**options):
        return export(model, representative_data=streets, **options)

    table.add("TensorFlow's converter", lambda: with_data(as_is=True))
    table.add(
        "TensorFlow's converter, per tensor",
        lambda: with_data(as_is=True, per_tensor=True),
    )
    table.add("`export_tflite`", with_data)
    table.add("`export_tflite`, per tensor", lambda: with_data(per_tensor=True))

    def without_data():
        ends = np.array([[0.0], [1.0]]) - imagenet.MEAN
        ends = ends / imagenet.DEVIATION
        ranges = quantize.calibrate(
            model,
            method="batch_norm",
            input_range=(float(ends.min()), float(ends.max())),
        )
        return export(model, ranges=ranges)

    table.add("no data", without_data)
    repaired = quantize.repair(model, streets)

    def by(method):
        ranges = quantize.calibrate(repaired, streets, method=method)
        return export(repaired, ranges=ranges)

    table.add("method `min_max`", lambda: by("min_max"))
    table.add("method `mse`", lambda: by("mse"))

    def prepared(*, per_tensor, equal=False, corrected=False):
        weights = "per_tensor" if per_tensor else "per_channel"
        # Through ReLU6, too, which `export_tflite` does not.
        net = quantize.equalize(repaired) if equal else repaired
        if corrected:
            net = quantize.correct_bias(net, streets, weights=weights)
        ranges = quantize.calibrate(net, streets)
        return export(net, ranges=ranges, per_tensor=per_tensor)

    for name, options in {
        "`correct_bias`": {"per_tensor": False},
        "per tensor, `equalize`, `correct_bias`": {
            "per_tensor": True,
            "equal": True,
        },
        "per tensor, `correct_bias`": {"per_tensor": True},
    }.items():
        table.add(name, lambda x=options: prepared(corrected=True, **x))
    table.add("per tensor", lambda: prepared(per_tensor=True))
    path = keras_rep.export_tflite(model, folder / "float.tflite")
    table.add(
        "ai-edge-quantizer", lambda: quantize_alone(path, {"image": streets})
    )

    def second_route():
        # What `export_tflite` does with data.
        net = quantize.repair(model, streets)
        ranges = quantize.calibrate(net, streets)
        file = keras_rep.export_tflite(net, folder / "repaired.tflite")
        return quantize_with_ranges(file, net, ranges)

    table.add("ai-edge-quantizer, our ranges", second_route)


if __name__ == "__main__":
    main()
