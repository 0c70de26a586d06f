"""From Keras on TensorFlow to a TFLite file of integers with given ranges.

The ranges go into nodes of fake quantization, from which TensorFlow's converter
takes scales and zero points as they are. What it makes of them was found by
trying: a range that is missing leaves operations in floating point, and
weights of one scale for each channel must come rounded, without a node.
"""

import keras
import numpy as np
from keras import activations

from keras_rep.export.quantization import Quantization
from keras_rep.export.tflite_converter import (
    import_tensorflow,
    make_converter,
    run_converter,
)
from keras_rep.export.tracing import signature_of
from keras_rep.functions import activation_function
from keras_rep.program import Program
from keras_rep.quantize.scales import Scale
from keras_rep.quantize.sites import keeps_integers, scales_of, scopes_of
from keras_rep.quantize.weights import rounded_kernels
from keras_rep.running import compute_call, run


def convert(model, _, names, batch_size, quantization, ranges, float_layers):
    """Converts a model with given ranges.

    Args:
        model: A prepared model, on the TensorFlow backend.
        names: List of names for the outputs.
        batch_size: Number of samples that the file takes at once.
        quantization: Fields of a `keras_rep.export.quantization.Quantization`.
        ranges: Dictionary from the names of sites to ranges.
        float_layers: Names of the layers whose weights stay real numbers.

    Returns:
        Bytes.

    Raises:
        DeployError: If the model cannot be converted.
    """
    tf = import_tensorflow()
    chosen = Quantization(**quantization)
    signature = signature_of(tf, model, batch_size)
    weights = _weights(tf, model, chosen.per_tensor, float_layers)
    function = _rounding_function(tf, model, names, ranges, weights)
    variables = [variable for variable, _ in weights.values()]
    converter = make_converter(tf, function, signature, variables)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.as_dtype(chosen.input_type)
    converter.inference_output_type = tf.as_dtype(chosen.output_type)
    return run_converter(converter, model)


def _rounding_function(tf, model, names, ranges, weights):
    """A function that computes a model with nodes of fake quantization.

    Args:
        tf: The module tensorflow.
        model: A prepared model, on the TensorFlow backend.
        names: List of names for the outputs.
        ranges: Dictionary from the names of sites to ranges.
        weights: Dictionary that `_weights` returns.

    Returns:
        Function from tensors, in the order of the inputs, to a dictionary.
    """
    program = Program(model)
    scales = {
        tensor: scale
        for tensor, scale in scales_of(program, ranges).items()
        # Integers that move keep their scale by themselves.
        if not keeps_integers(tensor)
    }
    scopes = scopes_of(program)

    def watch(_, tensor, value):
        scale = scales.get(tensor)
        return value if scale is None else _node(tf, value, scale)

    def compute(call, args, kwargs):
        # The slash keeps TensorFlow from numbering the scopes once more.
        with tf.name_scope(f"{scopes[call]}/"):
            if activation_function(call) is activations.hard_sigmoid:
                return _hard_sigmoid(tf, *args)
            number = int(scopes[call].rpartition(".")[2])
            mapping = [
                (variable, _weight(tf, weights[id(variable)], number))
                for variable in getattr(call.layer, "variables", ())
            ]
            with keras.StatelessScope(state_mapping=mapping):
                return compute_call(call, args, kwargs)

    def serve(*tensors):
        outputs = run(program, tensors, watch, compute)
        ends = [tf.identity(x) for x in outputs]
        return dict(zip(names, ends, strict=True))

    return serve


def _weights(tf, model, per_tensor, float_layers):
    """The weights as they go into the file.

    Returns:
        Dictionary from the ids of variables to a `tf.Variable` and the largest
        absolute value that a node of fake quantization behind it holds,
        `None` for no node.
    """
    rows: dict[int, tuple] = {id(x): (x.value, None) for x in model.variables}
    # Rounded here, for a node rounds in single precision, which halves fall
    # to the other side of.
    for key, value in rounded_kernels(model, per_tensor, float_layers).items():
        largest = float(np.abs(value).max()) or 1.0
        rows[key] = tf.Variable(value), largest if per_tensor else None
    return rows


def _weight(tf, weight, number):
    """The tensor of a weight in the graph.

    Args:
        tf: The module tensorflow.
        weight: Pair of `_weights`.
        number: Number of the layer's call.
    """
    variable, largest = weight
    tensor = variable.read_value()
    if largest is None:
        return tensor
    # Of a node that several calls share, the converter makes weights with a
    # scale for each channel, and it merges equal ones: the last bit differs.
    largest = np.float32(largest)
    for _ in range(number):
        largest = np.nextafter(largest, np.float32(np.inf))
    return tf.quantization.fake_quant_with_min_max_vars(
        tensor, -largest, largest, 8, narrow_range=True
    )


def _node(tf, value, scale):
    low, high = scale.bounds
    return tf.quantization.fake_quant_with_min_max_vars(
        value, low, high, scale.bits
    )


def _hard_sigmoid(tf, value):
    """Of two operations, with a range between them that follows from it."""
    six = _node(tf, tf.nn.relu6(value + 3.0), Scale.of(0.0, 6.0))
    return six * np.float32(1 / 6)
