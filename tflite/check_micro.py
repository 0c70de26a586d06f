"""Runs int8 TFLite files on TensorFlow Lite for Microcontrollers (TFLM).

    python tflite/check_micro.py model.tflite

Random integers go in, and TFLM's outputs must be those of LiteRT's reference
kernels to the last bit. The exit code is 1 where they are not.
"""

import argparse
import collections
import contextlib
import dataclasses
import os
import struct
import sys
import tempfile

import numpy as np
import tflite_file
from command_line import UserError, exit_code

# Bytes. More than any microcontroller has.
LARGEST_ARENA = 2**26
# TFLM aligns everything in its arena to so many bytes.
ALIGNMENT = 16


@dataclasses.dataclass(frozen=True)
class Difference:
    """The first tensor in which TFLM and LiteRT differ.

    Attributes:
        kind: The operator that computes it, in TFLite's words.
        layer: The Keras layer that it comes from.
        tensor: Name of the tensor.
        count: Number of elements that differ.
        largest: Largest difference, in integer steps.
    """

    kind: str
    layer: str
    tensor: str
    count: int
    largest: int


@dataclasses.dataclass(frozen=True)
class MicroResult:
    """How a file runs on TFLM.

    Attributes:
        path: Name of the file.
        arena: Size in bytes of the smallest arena that TFLM starts with, on
            this machine. With pointers of four bytes, it is smaller.
        samples: Number of samples.
        different: Number of samples for which an output differs.
        first: The first `Difference`, in the order of execution, or `None` if
            there is none with all tensors kept.
    """

    path: str
    arena: int
    samples: int
    different: int
    first: Difference | None


def compare(path, samples=10, seed=0):
    """Runs a file on TFLM and on LiteRT's reference kernels.

    Args:
        path: Name of a `.tflite` file with integers in inputs and outputs.
        samples: Number of random samples.
        seed: Seed of the random numbers.

    Returns:
        A `MicroResult`.

    Raises:
        UserError: If there is no such file or no sample, it does not hold
            integers, or TFLM is not installed or cannot run it.
    """
    if samples < 1:
        raise UserError(
            f"Nothing to compare. Received: {samples} samples. Expected at "
            "least one. Choose a larger number."
        )
    file = tflite_file.read(path)
    inputs = tflite_file.random_inputs(file, samples, seed)
    arena = smallest_arena(file)
    expected = tflite_file.run_reference(file, inputs)
    received = run_micro(file, inputs, arena)
    different = [
        sample
        for sample, *rows in zip(inputs, expected, received, strict=True)
        if any(np.any(x != y) for x, y in zip(*rows, strict=True))
    ]
    return MicroResult(
        path=file.path,
        arena=arena,
        samples=samples,
        different=len(different),
        first=_first_difference(file, different[0]) if different else None,
    )


def run_micro(file, samples, arena=LARGEST_ARENA):
    """Runs a file on TFLM.

    Args:
        file: A `TFLiteFile`.
        samples: List of samples, each a list with one array for each input, in
            the order of the file.
        arena: Size of the arena in bytes.

    Returns:
        List with the outputs of each sample, each a list of arrays in the
        order of the file.
    """
    runner = _start(file, arena)
    reference = tflite_file.reference_interpreter(file.content)
    outputs = range(len(reference.get_output_details()))
    rows = []
    for sample in samples:
        _run(runner, sample)
        rows.append([runner.get_output(i) for i in outputs])
    return rows


def smallest_arena(file):
    """Finds the smallest arena that a file can be loaded into, by trying.

    Args:
        file: A `TFLiteFile`.

    Returns:
        Its size in bytes, a multiple of 16.

    Raises:
        UserError: If TFLM is not installed or cannot run the file.
    """
    _start(file, LARGEST_ARENA)
    low, high = 0, LARGEST_ARENA
    while high - low > ALIGNMENT:
        middle = (low + high) // 2 // ALIGNMENT * ALIGNMENT
        try:
            _start(file, middle)
            high = middle
        except UserError:
            low = middle
    return high


def _start(file, arena, keeps_tensors=False):
    """Loads a file into an arena; returns TFLM's interpreter."""
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise UserError(
            "Cannot run TFLM. Received: no TFLM. Expected the package "
            "tflite-micro. Run `pip install 'keras-rep[micro]'`."
        ) from error
    modes = runtime.InterpreterConfig
    messages: list[str] = []
    try:
        with _caught_messages(messages):
            return runtime.Interpreter.from_bytes(
                file.content,
                arena_size=arena,
                intrepreter_config=(
                    modes.kPreserveAllTensors
                    if keeps_tensors
                    else modes.kAllocationRecording
                ),
            )
    except RuntimeError as error:
        raise UserError(
            f"TFLM cannot run '{file.path}'. Received, in an arena of {arena} "
            f"bytes: {messages[0] if messages else error}. Expected operators "
            "that TFLM has. Replace the layer that the operator comes from."
        ) from error


@contextlib.contextmanager
def _caught_messages(messages):
    """Adds to a list the lines that C++ writes to the error stream."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile("w+") as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            messages += filter(None, map(str.strip, caught))


def _run(runner, sample):
    for i, array in enumerate(sample):
        runner.set_input(array, i)
    runner.invoke()


def _first_difference(file, sample):
    """Compares all tensors, in the order of execution."""
    micro = _start(file, LARGEST_ARENA, keeps_tensors=True)
    _run(micro, sample)
    litert = tflite_file.reference_interpreter(
        file.content, experimental_preserve_all_tensors=True
    )
    tflite_file.feed(litert, sample)
    litert.invoke()
    for operator in file.operators:
        for index, name in zip(operator.indices, operator.outputs, strict=True):
            steps = micro.GetTensor(index, 0)["tensor_data"].astype("float64")
            steps -= litert.get_tensor(index)
            if np.any(steps):
                return Difference(
                    operator.kind,
                    operator.layer,
                    name,
                    int(np.count_nonzero(steps)),
                    int(np.abs(steps).max()),
                )
    return None


def show(result):
    """Prints a result.

    Args:
        result: A `MicroResult`.
    """
    kinds = (x.kind for x in tflite_file.read(result.path).operators)
    counts = (f"{n} {kind}" for kind, n in collections.Counter(kinds).items())
    print(f"operators: {', '.join(counts)}")
    print(
        f"arena: {result.arena:,} bytes, the smallest that TFLM takes, found "
        f"by trying; pointers have {struct.calcsize('P')} bytes here"
    )
    print(
        f"outputs: {result.samples - result.different} of {result.samples} "
        "samples give those of LiteRT's reference kernels, bit by bit"
    )
    first = result.first
    if first:
        print(
            f"first difference: {first.kind} of the layer '{first.layer}', "
            f"tensor '{first.tensor}': {first.count} elements, by up to "
            f"{first.largest}"
        )
        if first.kind == "FULLY_CONNECTED" and first.largest == 1:
            print(
                "known: LiteRT rounds this operator in floating point, TFLM in "
                "integers; https://github.com/google-ai-edge/LiteRT/issues/8567"
            )


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Compares TFLM with LiteRT's reference kernels."
    )
    parser.add_argument("file", help="an int8 .tflite file")
    parser.add_argument("--samples", type=int, default=10)
    options = parser.parse_args(arguments)

    def work():
        result = compare(options.file, options.samples)
        show(result)
        return int(result.different > 0)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
