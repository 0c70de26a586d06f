"""Compares what each layer returns in an exported file and in Keras."""

import collections
import dataclasses
import re

import keras
import numpy as np
from keras import tree

from keras_rep import graph
from keras_rep.deployment import deploy
from keras_rep.difference import cosine, max_abs_error, snr_db
from keras_rep.program import Program
from keras_rep.running import run


@dataclasses.dataclass(frozen=True)
class LayerError:
    """How far what a layer returns in a file is from what it returns in Keras.

    Attributes:
        name: Name of the layer in the deployed model, behind those of the
            models that hold it.
        max_abs_error: Largest absolute difference.
        snr_db: Signal-to-noise ratio in decibels; infinite if there is no
            difference.
        cosine: Cosine of the angle between both, as vectors of all samples.
    """

    name: str
    max_abs_error: float
    snr_db: float
    cosine: float


def compare_layers(runner, model, inputs, samples):
    """Compares the layers of a deployed model with the tensors of a file.

    Args:
        runner: `TFLiteRunner` or `ONNXRunner` that keeps its tensors.
        model: The model; where it is not deployed, its deployed form counts.
        inputs: Samples in the structure of the model's inputs.
        samples: The same by the names of the inputs.

    Returns:
        Tuple of `LayerError` in the order of the file. Layers that are called
        several times, and those that end in an output, are not in it.
    """
    program = Program(deploy(model, verify=False))
    ends = {graph.producer(x).name for x in tree.flatten(program.model.outputs)}
    expected = {
        path: arrays[0]
        for path, arrays in returned_by_layers(program, inputs).items()
        if len(arrays) == 1 and path[0] not in ends
    }
    found: dict[tuple, np.ndarray] = {}
    for name, array in runner.tensors(samples).items():
        path = _layer_path(name, expected)
        if path is not None:
            # The last one of a layer is what it returns.
            found.pop(path, None)
            found[path] = array
    rows = []
    for path, array in found.items():
        array = _in_layout_of(expected[path], array)
        if array is not None:
            pair = expected[path], array
            errors = max_abs_error(*pair), snr_db(*pair), cosine(*pair)
            rows.append(LayerError("/".join(path), *errors))
    return tuple(rows)


def returned_by_layers(program, inputs):
    """Computes a model layer by layer, in inference mode.

    Args:
        program: The `Program` of the model.
        inputs: Samples in the structure of its inputs.

    Returns:
        Dictionary from the path of each layer, its name behind those of the
        models that hold it, to a list of what its calls returned.
    """
    values: dict[tuple, list[np.ndarray]] = collections.defaultdict(list)

    def note(part, tensor, value):
        call = tensor.producer
        is_first = call is not None and tensor is call.output
        if (
            is_first
            and call.body is None
            and isinstance(call.layer, keras.Layer)
        ):
            path = (*part.path, call.layer.name)
            values[path].append(keras.ops.convert_to_numpy(value))
        return value

    run(program, tree.flatten(inputs), note)
    return values


def _layer_path(name, known):
    """The path of the layer that computed a tensor, if it is a known one.

    TensorFlow puts a number behind the name of every layer, and names one
    operation for all that were merged into it, the last one first:
    "block_1/conv_1/Relu;block_1/conv_1/convolution".
    """
    *scopes, _ = name.partition(";")[0].split("/")
    path = [re.sub(r"_\d+$", "", scope) for scope in scopes]
    for length in range(1, len(path) + 1):
        if tuple(path[:length]) in known:
            return tuple(path[:length])
    return None


def _in_layout_of(expected, array):
    """An array with the channels last, whichever way the file has them.

    Returns:
        The array, or `None` if it has another shape in both layouts.
    """
    layouts = [array]
    if array.ndim > 2:
        layouts.append(np.moveaxis(array, 1, -1))
    layouts = [x for x in layouts if x.shape == expected.shape]
    # Where both shapes fit, the right layout is the one without an error.
    return max(layouts, key=lambda x: snr_db(expected, x), default=None)
