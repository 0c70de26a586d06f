"""Compares exported files, on their runtime, with the model."""

import dataclasses
import io
import pathlib

from keras import tree

from keras_rep import graph
from keras_rep.difference import (
    agreement,
    cosine,
    max_abs_error,
    max_rel_error,
    snr_db,
)
from keras_rep.inputs import flat_arrays
from keras_rep.layerwise import LayerError, compare_layers
from keras_rep.quantize.comparison import prepared_form
from keras_rep.quantize.layer_errors import layer_errors
from keras_rep.runtime import ONNXRunner, TFLiteRunner


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """How far a file's outputs are from the model's.

    Attributes:
        max_abs_error: Largest absolute difference, for each output by name.
        max_rel_error: The same, relative to the largest absolute value of the
            model's output.
        snr_db: Signal-to-noise ratio in decibels, likewise; infinite if the
            outputs are equal.
        cosine: Cosine of the angle between both outputs, as vectors of all
            samples, likewise.
        top1_agreement: Share of samples, from 0 to 1, for which file and
            model have their largest value at the same place of the last axis,
            likewise.
        runtime_ops: The operations in the file and how often each occurs.
        layers: A `LayerError` for each layer that has a tensor in the file, in
            the order of the file, if they were asked for.
    """

    max_abs_error: dict[str, float]
    max_rel_error: dict[str, float]
    snr_db: dict[str, float]
    cosine: dict[str, float]
    top1_agreement: dict[str, float]
    runtime_ops: dict[str, int]
    layers: tuple[LayerError, ...] = ()

    def render(self, width=100):
        """The result as tables.

        Args:
            width: Number of characters in a line.

        Returns:
            A string of several lines.
        """
        from rich.console import Console
        from rich.table import Table

        outputs = Table("output", "max error", "relative", "SNR", "cosine")
        outputs.add_column("same top-1", justify="right")
        for name in self.snr_db:
            outputs.add_row(
                name,
                f"{self.max_abs_error[name]:.2g}",
                f"{self.max_rel_error[name]:.1e}",
                f"{self.snr_db[name]:.1f} dB",
                f"{self.cosine[name]:.6f}",
                f"{self.top1_agreement[name]:.1%}",
            )
        inner = Table("layer", "max error", "SNR", "cosine")
        for row in self.layers:
            inner.add_row(
                row.name,
                f"{row.max_abs_error:.2g}",
                f"{row.snr_db:.1f} dB",
                f"{row.cosine:.6f}",
            )
        page = io.StringIO()
        console = Console(width=width, file=page)
        if self.layers:
            console.print(inner)
        console.print(outputs)
        counts = (f"{n} {name}" for name, n in self.runtime_ops.items())
        console.print(f"operations: {', '.join(counts)}", highlight=False)
        return page.getvalue()

    def __str__(self):
        return self.render()


def check(path, model, inputs, *, layers=False, delegates=True):
    """Runs an exported file on its runtime and compares it with a model.

    Args:
        path: Name of a `.tflite` file, for LiteRT, or of an `.onnx` file, for
            ONNX Runtime.
        model: The `keras.Model` that it was exported from, or a form of it
            with the same names of inputs and outputs.
        inputs: Samples in the structure of the model's inputs. For an int8
            file they are quantized as the file asks for.
        layers: Whether to compare what each layer of the deployed model
            returns, too: where its SNR falls, the error enters. A layer that
            the converter merged into another one has no row; an int8 file has
            one for each operation.
        delegates: Whether LiteRT may use XNNPACK, as it does by default on
            phones; else its own kernels compute everything. Comparing layers,
            they always do.

    Returns:
        A `CheckResult`; `print` shows it as a table.

    Raises:
        ValueError: If there is no such file, or if the inputs do not fit.
        DeployError: If the runtime is not installed or cannot read the file.

    Example:
    ```python
    result = keras_rep.check("model.tflite", model, x_test)
    print(result.snr_db, result.top1_agreement, result.runtime_ops)
    print(keras_rep.check("model.tflite", model, x_test[:8], layers=True))
    ```
    """
    runner = _runner(path, layers, delegates)
    arrays = flat_arrays(model, inputs, "inputs")
    samples = dict(zip(graph.input_names(model), arrays, strict=True))
    received = runner(samples)
    predictions = tree.flatten(model.predict(inputs, verbose=0))
    expected = dict(zip(graph.output_names(model), predictions, strict=True))
    ends = [
        {name: array.shape[1:] for name, array in arrays.items()}
        for arrays in (expected, received)
    ]
    if ends[0] != ends[1]:
        raise ValueError(
            f"File '{path}' and model '{model.name}' do not correspond. "
            f"Received: a file with the outputs {ends[1]}, and a model with "
            f"{ends[0]}. Expected the same names and shapes. Pass the model "
            "that was exported, or its deployed form."
        )
    pairs = {name: (expected[name], received[name]) for name in expected}
    return CheckResult(
        max_abs_error={n: max_abs_error(*p) for n, p in pairs.items()},
        max_rel_error={n: max_rel_error(*p) for n, p in pairs.items()},
        snr_db={n: snr_db(*p) for n, p in pairs.items()},
        cosine={n: cosine(*p) for n, p in pairs.items()},
        top1_agreement={n: agreement(*p) for n, p in pairs.items()},
        runtime_ops=runner.operations,
        layers=_layers(runner, model, inputs, samples) if layers else (),
    )


def _layers(runner, model, inputs, samples):
    """A `LayerError` for each layer that has a tensor in the file."""
    if isinstance(runner, TFLiteRunner):
        rows = layer_errors(runner, prepared_form(model), samples)
        if rows:
            return rows
    return compare_layers(runner, model, inputs, samples)


def _runner(path, layers, delegates):
    suffix = pathlib.Path(path).suffix
    if suffix == ".tflite":
        return TFLiteRunner(
            path, delegates=delegates and not layers, keeps_tensors=layers
        )
    if suffix == ".onnx":
        return ONNXRunner(path, optimizes=not layers, keeps_tensors=layers)
    raise ValueError(
        f"No runtime for '{path}'. Received: a name that ends in '{suffix}'. "
        "Expected '.tflite' or '.onnx'. Pass a file that was exported."
    )
