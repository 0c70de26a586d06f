"""Ranges without data, from what batch normalizations learned.

Behind a normalization a channel has the mean β and the deviation |γ|. From
there both are followed through the layers, as if all were normal
distributions. Where channels or pixels are added up, what comes of it depends
on their correlation, which nothing tells: the deviation is the geometric mean
of that for none and that for a full one.
"""

import keras
import numpy as np
from keras import activations, layers, ops, tree

from keras_rep import graph
from keras_rep.affine import LINEAR, TRANSPOSED, scale_inputs
from keras_rep.functions import activation_function
from keras_rep.program import Program
from keras_rep.quantize.channel_cap import ChannelCap
from keras_rep.quantize.learned_moments import Normal, learned_moments
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.sites import find_sites, moves

# How many deviations around the mean a range holds.
DEVIATIONS = 5
# Where an activation is evaluated, in deviations.
POINTS = np.linspace(-5, 5, 201)
WEIGHTS = np.exp(-np.square(POINTS) / 2)
WEIGHTS /= WEIGHTS.sum()
GLOBAL_POOLING = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
)


def normal_ranges(model, input_range):
    """The range of each tensor that an integer file rounds.

    Args:
        model: A model that is not deployed.
        input_range: Tuple of the smallest and the largest value of the inputs.

    Returns:
        Dictionary from the names of sites to pairs of numbers.

    Raises:
        ValueError: If a layer cannot be followed without data.
    """
    known = learned_moments(model)
    program = Program(prepare(model))
    values = {}
    low, high = input_range
    for tensor in tree.flatten(program.inputs):
        channels = np.ones(tensor.shape[-1])
        spread = (high - low) / (2 * DEVIATIONS)
        values[tensor] = Normal((low + high) / 2 * channels, spread * channels)
    for call in program.calls():
        given = [values[x] for x in call.inputs]
        values[call.output] = _follow(call, given, known)
    ranges = {}
    for site in find_sites(program).values():
        pairs = [_range(values[tensor]) for tensor in site.tensors]
        lows, highs = zip(*pairs, strict=True)
        ranges[site.name] = (
            max(min(lows), site.bounds[0]),
            min(max(highs), site.bounds[1]),
        )
    for layer in program.input_layers:
        ranges[layer.name] = input_range
    return ranges


def _range(normal):
    reach = DEVIATIONS * normal.deviation
    return (normal.mean - reach).min(), (normal.mean + reach).max()


def _follow(call, given, known):
    """The `Normal` of what a call returns."""
    layer = call.layer
    first, *rest = given
    if type(layer) in LINEAR and type(layer) not in TRANSPOSED:
        before = known.get(layer.name) or _convolved(layer, first)
        return _activated(layer.activation, before)
    function = activation_function(call)
    if function is activations.softmax:
        return Normal(first.mean * 0, first.deviation * 0 + 1 / DEVIATIONS)
    if function is not None:
        return _activated(function, first)
    if type(layer) is ChannelCap:
        caps = np.array(layer.caps)
        return _activated(lambda x: ops.minimum(x, caps), first)
    if call.is_sum:
        variance = first.deviation**2 + sum(x.deviation**2 for x in rest)
        mean = first.mean + sum(x.mean for x in rest)
        return Normal(mean, np.sqrt(variance))
    if type(layer) is layers.Multiply and len(rest) == 1:
        return _product(first, *rest)
    if type(layer) in GLOBAL_POOLING:
        pixels = np.prod(call.inputs[0].shape[1:-1])
        return Normal(first.mean, first.deviation / pixels**0.25)
    if type(layer) is layers.Concatenate:
        return Normal(
            np.concatenate([x.mean for x in given]),
            np.concatenate([x.deviation for x in given]),
        )
    if moves(call) and len(given) == 1:
        return _moved(first, call.output.shape[-1])
    name = graph.operation_name(layer) or type(layer).__name__
    raise ValueError(
        f"Cannot calibrate without data. Received: '{layer.name}' (of type "
        f"{name}), which means and deviations cannot be followed through. "
        "Expected convolutions, activations, sums, products, pooling. "
        "Calibrate with data."
    )


def _convolved(layer, normal):
    """Of a convolution without a normalization behind it."""
    kernel, bias = layer.get_weights()
    nothing = np.zeros_like(bias)
    ones = np.ones_like(normal.mean)

    def respond(weights, values):
        return scale_inputs(layer, [weights, nothing], ones, values)[1]

    mean = respond(kernel, normal.mean) + bias
    apart = np.sqrt(respond(np.square(kernel), np.square(normal.deviation)))
    together = respond(np.abs(kernel), normal.deviation)
    return Normal(mean, np.sqrt(apart * together))


def _activated(function, normal):
    if function is activations.linear:
        return normal
    values = normal.mean + POINTS[:, None] * normal.deviation
    values = ops.convert_to_tensor(values.astype("float32"))
    results = keras.ops.convert_to_numpy(function(values)).astype("float64")
    mean = WEIGHTS @ results
    return Normal(mean, np.sqrt(WEIGHTS @ np.square(results - mean)))


def _product(first, second):
    variance = (
        first.deviation**2 * second.mean**2
        + second.deviation**2 * first.mean**2
        + first.deviation**2 * second.deviation**2
    )
    return Normal(first.mean * second.mean, np.sqrt(variance))


def _moved(normal, channels):
    """Of a layer that puts values elsewhere."""
    if channels == len(normal.mean):
        return normal
    # Reshaped: each channel may hold any of them.
    return Normal(
        np.full(channels, normal.mean.mean()),
        np.full(channels, _widest(normal)),
    )


def _widest(normal):
    low, high = _range(normal)
    centre = normal.mean.mean()
    return max(high - centre, centre - low) / DEVIATIONS
