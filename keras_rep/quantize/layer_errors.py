"""How far what each layer returns in an integer file is from real numbers."""

import keras
import numpy as np

from keras_rep.difference import cosine, max_abs_error, snr_db
from keras_rep.layerwise import LayerError
from keras_rep.program import Program
from keras_rep.quantize.file_checks import file_tensors
from keras_rep.quantize.sites import all_tensors
from keras_rep.running import run


def layer_errors(runner, prepared, inputs):
    """Compares the tensors of an integer file with those of a model.

    Args:
        runner: A `keras_rep.runtime.TFLiteRunner` that keeps its tensors.
        prepared: The prepared model.
        inputs: Dictionary from the names of the inputs to arrays of samples.

    Returns:
        Tuple of `LayerError` in the order of the model.
    """
    program = Program(prepared)
    names = file_tensors(runner, program)
    received = runner.tensors(inputs)
    # Equalization scales whole channels; that is no error.
    is_equalized = all(
        len(set(scales.tolist())) <= 1
        for scales in runner.kernel_scales.values()
    )
    found = {}

    def watch(_, tensor, value):
        if tensor in names:
            found[tensor] = keras.ops.convert_to_numpy(value)
        return value

    order = [layer.name for layer in program.input_layers]
    run(program, [inputs[name] for name in order], watch)
    rows = []
    for tensor in all_tensors(program):
        if tensor not in found:
            continue
        pair = found[tensor], received[names[tensor]]
        if pair[0].shape != pair[1].shape:
            continue
        if is_equalized:
            pair = pair[0], _scaled(*pair)
        errors = max_abs_error(*pair), snr_db(*pair), cosine(*pair)
        rows.append(LayerError(tensor.producer.layer.name, *errors))
    return tuple(rows)


def _scaled(expected, received):
    """What was received, each channel times the factor that fits best."""
    axes = tuple(range(expected.ndim - 1))
    power = np.square(received, dtype="float64").sum(axes)
    product = (received * expected).sum(axes, dtype="float64")
    return received * (product / np.where(power, power, 1.0))
