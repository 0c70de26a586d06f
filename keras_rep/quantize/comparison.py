"""What a quantized file costs in accuracy, and where it loses it."""

import dataclasses
import io

import numpy as np
from keras import tree

from keras_rep import graph
from keras_rep.difference import agreement, snr_db
from keras_rep.inputs import flat_arrays
from keras_rep.layerwise import LayerError
from keras_rep.quantize.fake_quantization import is_fake_quantized, read_form
from keras_rep.quantize.health import KernelHealth, kernel_health
from keras_rep.quantize.layer_errors import layer_errors
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.variants import (
    Variant,
    share_of_largest,
    try_variants,
)
from keras_rep.runtime import TFLiteRunner

# Layers are compared on a few samples: all their outputs are kept.
LAYER_SAMPLES = 8


@dataclasses.dataclass(frozen=True)
class QuantizationReport:
    """A quantized file beside the model in floating point.

    Shares are numbers from 0 to 1; those of several outputs are of the first.

    Attributes:
        agreement: Share of samples for which file and model have the same
            class, the largest output along the last axis.
        float_accuracy: Share of samples that the model gets right, `None`
            without labels.
        file_accuracy: Share that the file gets right, likewise.
        saturated: Share of samples whose largest output is the largest number
            that the file can hold. Above some percent the range is too small:
            classes tie there.
        snr_db: Signal-to-noise ratio in decibels, for each output by name. It
            says nothing about saturation.
        operations: The operations in the file and how often each occurs.
        layers: A `LayerError` for each layer: where the SNR falls, the error
            enters.
        health: A `KernelHealth` for each kernel.
        variants: A `Variant` for each way to quantize, if they were tried.
    """

    agreement: float
    float_accuracy: float | None
    file_accuracy: float | None
    saturated: float
    snr_db: dict[str, float]
    operations: dict[str, int]
    layers: tuple[LayerError, ...]
    health: tuple[KernelHealth, ...]
    variants: tuple[Variant, ...] = ()

    def render(self, width=100):
        """The report as tables.

        Args:
            width: Number of characters in a line.

        Returns:
            A string of several lines.
        """
        from rich.console import Console
        from rich.table import Table

        page = io.StringIO()
        console = Console(width=width, file=page)
        for title, heads, rows in self.tables():
            table = Table(title=title, title_justify="left")
            for index, head in enumerate(heads):
                table.add_column(head, justify="right" if index else "left")
            for row in rows:
                table.add_row(*row)
            console.print(table)
        return page.getvalue()

    def __str__(self):
        return self.render()

    def tables(self):
        """The tables of the report.

        Returns:
            List of a title, the heads of the columns, and rows of strings.
        """
        spreads = {each.name: each for each in self.health}
        layer_rows = [
            (
                row.name,
                f"{row.snr_db:.1f}",
                f"{row.max_abs_error:.2g}",
                *_health(spreads.pop(row.name, None)),
            )
            for row in self.layers
        ]
        layer_rows += [
            (name, "", "", *_health(each)) for name, each in spreads.items()
        ]
        tables = [
            ("Outputs", ("figure", "value"), self._summary()),
            (
                "Layers",
                ("layer", "SNR dB", "max error", "spread", "identity gain"),
                layer_rows,
            ),
        ]
        if self.variants:
            heads = ("variant", "agreement", "SNR dB", "saturated")
            rows = [
                (
                    each.name,
                    f"{each.agreement:.1%}",
                    f"{each.snr_db:.1f}",
                    f"{each.saturated:.1%}",
                )
                for each in self.variants
            ]
            tables.append(("What if", heads, rows))
        return tables

    def _summary(self):
        rows = [
            ("agreement", f"{self.agreement:.1%}"),
            ("saturated", f"{self.saturated:.1%}"),
        ]
        for name in ("float_accuracy", "file_accuracy"):
            value = getattr(self, name)
            if value is not None:
                rows.append((name.replace("_", " "), f"{value:.2%}"))
        rows += [
            (f"SNR of '{k}'", f"{v:.1f} dB") for k, v in self.snr_db.items()
        ]
        counts = ", ".join(f"{n} {name}" for name, n in self.operations.items())
        return [*rows, ("operations", counts)]


def _health(each):
    if each is None:
        return "", ""
    gain = each.identity_gain
    return f"{each.spread:.1f}", "" if gain is None else f"{gain:.1f}"


def compare(model, file, data, labels=None, *, calibration=None):
    """Compares a quantized file with the model in floating point.

    Args:
        model: The `keras.Model` that the file was exported from, in its
            training form or deployed.
        file: Name of a `.tflite` file.
        data: Samples in the structure of the model's inputs, which were not
            used to calibrate.
        labels: Integer classes of the samples, for the accuracy.
        calibration: Samples to calibrate with. If they are given, other ways
            to quantize are tried on `data`, by simulation: scales for each
            channel or for each kernel, percentiles or extremes, with and
            without each remedy.

    Returns:
        A `QuantizationReport`; `print` shows it as tables, and
        `keras_rep.write_report(..., quantization=report)` writes it into the
        HTML page.

    Raises:
        ValueError: If there is no such file, or if the samples do not fit.
        DeployError: If the model cannot be deployed, or the file not be run.

    Example:
    ```python
    report = keras_rep.quantize.compare(model, "model.tflite", x_test, y_test)
    print(report.agreement, report.file_accuracy)
    ```
    """
    arrays = flat_arrays(model, data, "data")
    _check_labels(labels, arrays[0])
    runner = TFLiteRunner(file)
    inputs = dict(zip(graph.input_names(model), arrays, strict=True))
    received = runner(inputs)
    predictions = tree.flatten(model.predict(data, verbose=0))
    names = graph.output_names(model)
    expected = dict(zip(names, predictions, strict=True))
    if set(expected) != set(received):
        raise ValueError(
            f"File '{file}' and model '{model.name}' do not correspond. "
            f"Received: a file with the outputs {sorted(received)}. Expected "
            f"{sorted(expected)}. Pass the model that was exported."
        )
    first = names[0]
    variants = ()
    if calibration is not None:
        variants = try_variants(model, data, predictions[0], calibration)
    keeping = TFLiteRunner(file, delegates=False, keeps_tensors=True)
    few = {name: array[:LAYER_SAMPLES] for name, array in inputs.items()}
    return QuantizationReport(
        agreement=agreement(expected[first], received[first]),
        float_accuracy=_accuracy(expected[first], labels),
        file_accuracy=_accuracy(received[first], labels),
        saturated=share_of_largest(
            received[first], runner.largest_outputs[first]
        ),
        snr_db={n: snr_db(expected[n], received[n]) for n in expected},
        operations=runner.operations,
        layers=layer_errors(keeping, prepared_form(model), few),
        health=kernel_health(model),
        variants=variants,
    )


def prepared_form(model):
    """The prepared model, also of one that `fake_quantize` returned."""
    return (
        read_form(model).model if is_fake_quantized(model) else prepare(model)
    )


def _check_labels(labels, samples):
    if labels is None:
        return
    shape = np.shape(labels)
    if shape != (len(samples),) or np.asarray(labels).dtype.kind not in "iu":
        raise ValueError(
            f"`labels` do not fit the data. Received: an array of shape "
            f"{shape} and type {np.asarray(labels).dtype}. Expected "
            f"{len(samples)} integers, a class for each sample. Take the "
            "argmax of one-hot labels."
        )


def _accuracy(outputs, labels):
    if labels is None:
        return None
    return float(np.mean(outputs.argmax(-1) == np.asarray(labels)))
