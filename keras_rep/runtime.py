"""Runs exported files on their runtime and compares them with the model."""

import collections
import dataclasses
import math
import pathlib
import time

import numpy as np
from keras import tree

from keras_rep import graph
from keras_rep.errors import DeployError
from keras_rep.inputs import flat_arrays


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """How far a file's outputs are from the model's.

    Attributes:
        max_abs_error: Largest absolute difference, for each output by name.
        snr_db: Signal-to-noise ratio in decibels, likewise; infinite if the
            outputs are equal.
        top1_agreement: Share of samples, from 0 to 1, for which file and
            model have their largest value at the same place of the last axis,
            likewise.
        runtime_ops: The operations in the file and how often each occurs.
    """

    max_abs_error: dict[str, float]
    snr_db: dict[str, float]
    top1_agreement: dict[str, float]
    runtime_ops: dict[str, int]


def check(path, model, inputs):
    """Runs a TFLite file on LiteRT and compares it with a model.

    Args:
        path: Name of a `.tflite` file.
        model: The `keras.Model` that it was exported from, or a form of it
            with the same names of inputs and outputs.
        inputs: Samples in the structure of the model's inputs. For an int8
            file they are quantized as the file asks for.

    Returns:
        A `CheckResult`.

    Raises:
        ValueError: If there is no such file, or if the inputs do not fit.
        DeployError: If LiteRT is not installed or cannot read the file.

    Example:
    ```python
    result = keras_rep.check("model.tflite", model, x_test)
    print(result.snr_db, result.top1_agreement, result.runtime_ops)
    ```
    """
    runner = TFLiteRunner(path)
    arrays = flat_arrays(model, inputs, "inputs")
    received = runner(dict(zip(graph.input_names(model), arrays, strict=True)))
    predictions = tree.flatten(model.predict(inputs, verbose=0))
    expected = dict(zip(graph.output_names(model), predictions, strict=True))
    if set(expected) != set(received):
        raise ValueError(
            f"File '{path}' and model '{model.name}' do not correspond. "
            f"Received: a file with the outputs {sorted(received)}, and a "
            f"model with {sorted(expected)}. Expected the same names. Pass the "
            "model that was exported, or its deployed form."
        )
    pairs = {name: (expected[name], received[name]) for name in expected}
    return CheckResult(
        max_abs_error={n: _max_abs_error(*p) for n, p in pairs.items()},
        snr_db={n: _snr_db(*p) for n, p in pairs.items()},
        top1_agreement={n: _agreement(*p) for n, p in pairs.items()},
        runtime_ops=runner.operations,
    )


class TFLiteRunner:
    """A TFLite file on LiteRT, called like a function.

    Args:
        path: Name of a `.tflite` file.
        num_threads: Number of threads; by default LiteRT decides.

    Attributes:
        operations: The operations in the file and how often each occurs.
    """

    def __init__(self, path, num_threads=None):
        path = pathlib.Path(path)
        if not path.is_file():
            raise ValueError(
                f"Cannot run '{path}'. Received: a path where there is no "
                "file. Expected a TFLite file. Write one with "
                "`keras_rep.export_tflite`."
            )
        try:
            from ai_edge_litert import interpreter
        except ImportError as error:
            raise DeployError(
                "Cannot run a TFLite file. Received: no LiteRT. Expected the "
                "package ai-edge-litert. Run `pip install 'keras-rep[tflite]'`."
            ) from error
        content = path.read_bytes()
        try:
            self.interpreter = interpreter.Interpreter(
                model_content=content, num_threads=num_threads
            )
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise DeployError(
                f"LiteRT cannot run '{path}'. Received: {error}. Expected a "
                "whole TFLite file, as `keras_rep.export_tflite` writes it. "
                "Export the model again."
            ) from error
        self.operations = _count_operations(content)

    def __call__(self, samples):
        """Runs the file on samples, one after the other.

        Args:
            samples: Dictionary from the names of the file's inputs to arrays
                with samples along the first axis.

        Returns:
            Dictionary from the names of its outputs to arrays. Integers are
            converted from and to real numbers by the file's own scales.
        """
        runner = self.interpreter.get_signature_runner()
        details = runner.get_input_details()
        if set(details) != set(samples):
            raise ValueError(
                f"The inputs do not fit the file. Received: {sorted(samples)}. "
                f"Expected: {sorted(details)}. Use these names."
            )
        count = len(next(iter(samples.values())))
        quantized = {
            name: _quantize(samples[name], detail)
            for name, detail in details.items()
        }
        rows = [
            runner(**{n: x[i : i + 1] for n, x in quantized.items()})
            for i in range(count)
        ]
        return {
            name: _dequantize(np.concatenate([row[name] for row in rows]), out)
            for name, out in runner.get_output_details().items()
        }

    @property
    def parameters(self):
        """Scale and zero point of each input and output, by name.

        A real number is `(integer - zero_point) * scale`; the scale is 0 where
        the file has real numbers.
        """
        runner = self.interpreter.get_signature_runner()
        details = {**runner.get_input_details(), **runner.get_output_details()}
        return {name: each["quantization"] for name, each in details.items()}

    def invoke(self):
        """Runs the file once on whatever its inputs hold, to be timed."""
        self.interpreter.invoke()


def latencies(paths, *, rounds=50, num_threads=1):
    """Measures how long TFLite files take on LiteRT, one image at a time.

    The files take turns, so that all of them see the machine in the same
    state.

    Args:
        paths: Names of `.tflite` files.
        rounds: Number of measured runs of each file.
        num_threads: Number of threads.

    Returns:
        A list with the median time of each file, in seconds.
    """
    runners = [TFLiteRunner(path, num_threads) for path in paths]
    times: list[list[float]] = [[] for _ in runners]
    for number in range(rounds + 5):
        for runner, row in zip(runners, times, strict=True):
            start = time.perf_counter()
            runner.invoke()
            if number >= 5:
                row.append(time.perf_counter() - start)
    return [float(np.median(row)) for row in times]


def _quantize(values, detail):
    scale, zero_point = detail["quantization"]
    dtype = detail["dtype"]
    if not np.issubdtype(dtype, np.integer) or not scale:
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    grid = np.round(values / scale) + zero_point
    return np.clip(grid, limits.min, limits.max).astype(dtype)


def _dequantize(values, detail):
    scale, zero_point = detail["quantization"]
    if not scale:
        return values
    return (values.astype("float64") - zero_point) * scale


def _count_operations(content):
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items()}
    model = schema.ModelT.InitFromPackedBuf(content)
    counts: collections.Counter[str] = collections.Counter()
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            # Files from before 2020 have their codes in the older field.
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            counts[names[number]] += 1
    return dict(counts)


def _max_abs_error(expected, received):
    return float(np.abs(expected - received).max())


def _snr_db(expected, received):
    signal = np.square(expected, dtype="float64").sum()
    noise = np.square(expected - received, dtype="float64").sum()
    if not noise:
        return math.inf
    return float(10 * np.log10(signal / noise)) if signal else -math.inf


def _agreement(expected, received):
    return float(np.mean(expected.argmax(-1) == received.argmax(-1)))
