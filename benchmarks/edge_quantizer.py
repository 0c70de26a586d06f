"""A second way to an int8 file: ai-edge-quantizer, maybe with our ranges.

It works on a float32 file, without TensorFlow and without nodes of fake
quantization: two implementations of the same arithmetic.
"""

import contextlib
import io
import math
import warnings

import keras
import numpy as np

from keras_rep.program import Program
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.sites import all_tensors, find_sites
from keras_rep.running import run
from keras_rep.runtime import TFLiteRunner

# What an operation of LiteRT and one of Keras may differ by, relatively.
SAME = 1e-4


def quantize_alone(path, samples):
    """Quantizes a float32 file with ranges that ai-edge-quantizer finds.

    Args:
        path: Name of the file, of a batch of one.
        samples: Dictionary from the names of the inputs to arrays.

    Returns:
        The bytes of an int8 file.
    """
    quantizer = _quantizer(path)
    (signature,) = TFLiteRunner(path).interpreter.get_signature_list()
    count = len(next(iter(samples.values())))
    feeds = [
        {name: array[i : i + 1] for name, array in samples.items()}
        for i in range(count)
    ]
    with _quietly():
        found = quantizer.calibrate({signature: feeds})
    return _quantize(quantizer, found)


def quantize_with_ranges(path, model, ranges):
    """Quantizes a float32 file with given ranges.

    Args:
        path: Name of the file, exported from the model.
        model: The model.
        ranges: Dictionary from names to ranges, as
            `keras_rep.quantize.calibrate` returns it.

    Returns:
        The bytes of an int8 file.
    """
    names = tensor_names(path, model)
    sites = find_sites(Program(prepare(model)))
    limits = {
        name: sites[site].fixed or ranges[site] for name, site in names.items()
    }
    shapes = {
        each["name"]: len(each["shape"])
        for each in TFLiteRunner(path).interpreter.get_tensor_details()
    }
    found = {
        name: {
            key: np.full((1,) * shapes[name], value, "float32")
            for key, value in zip(("min", "max"), pair, strict=True)
        }
        for name, pair in limits.items()
    }
    return _quantize(_quantizer(path), found)


def tensor_names(path, model):
    """Which site each tensor of a float32 file belongs to.

    Names in a file are the converter's affair, so tensors are known by what
    they hold for a random image.

    Args:
        path: Name of the file.
        model: The model that was exported.

    Returns:
        Dictionary from the names of tensors to those of sites.
    """
    runner = TFLiteRunner(path, delegates=False, keeps_tensors=True)
    prepared = prepare(model)
    program = Program(prepared)
    generator = np.random.default_rng(0)
    images = {
        layer.name: generator.normal(size=(1, *spec.shape[1:])).astype(
            "float32"
        )
        for layer, spec in zip(
            program.input_layers, prepared.inputs, strict=True
        )
    }
    site_of = {
        tensor: site.name
        for site in find_sites(program).values()
        for tensor in site.tensors
    }
    values = {}

    def watch(_, tensor, value):
        if tensor in site_of:
            values[tensor] = keras.ops.convert_to_numpy(value)
        return value

    run(program, list(images.values()), watch)
    order = [x for x in all_tensors(program) if x in values]
    inputs = runner.interpreter.get_signature_runner().get_input_details()
    found = {each["name"]: name for name, each in inputs.items()}
    for name, array in runner.tensors(images).items():
        errors = [_distance(array, values[tensor]) for tensor in order]
        best = int(np.argmin(errors))
        if errors[best] > SAME:
            raise ValueError(
                f"No layer returns what tensor '{name}' of '{path}' holds. "
                f"Received: a distance of {errors[best]:.1e}. Expected "
                f"{SAME:.0e} at most. Export the same model."
            )
        found[name] = site_of[order[best]]
    return found


def _distance(array, other):
    """Largest difference of two arrays, relative to their size."""
    if array.shape != other.shape:
        return math.inf
    largest = float(np.abs(other).max())
    return float(np.abs(array - other).max()) / (largest or 1.0)


def _quantizer(path):
    """A quantizer with the recipe of int8 weights and int8 images."""
    from ai_edge_quantizer import quantizer, recipe

    with _quietly():
        return quantizer.Quantizer(str(path), recipe.static_wi8_ai8())


def _quantize(quantizer, found):
    with _quietly():
        return bytes(quantizer.quantize(found).quantized_model)


@contextlib.contextmanager
def _quietly():
    """Without its bars, its summary, and its warning of how it runs a file."""
    page = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(page),
        contextlib.redirect_stderr(page),
    ):
        warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors")
        yield
