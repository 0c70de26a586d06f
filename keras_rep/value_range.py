"""What values a tensor of a program can have.

Every statement holds for all inputs of the model. Where nothing is known, a
range is unlimited.
"""

import math

import keras
from keras import layers

from keras_rep.functions import activation_function
from keras_rep.layers.base import UNLIMITED

ACTIVATIONS = {
    keras.activations.relu: (0.0, math.inf),
    keras.activations.relu6: (0.0, 6.0),
    keras.activations.sigmoid: (0.0, 1.0),
    keras.activations.hard_sigmoid: (0.0, 1.0),
    keras.activations.softmax: (0.0, 1.0),
    keras.activations.softplus: (0.0, math.inf),
    keras.activations.exponential: (0.0, math.inf),
    keras.activations.tanh: (-1.0, 1.0),
}
ACTIVATED = (
    layers.Activation,
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)
# Layers whose outputs are inputs, or means of them.
SELECTING = (
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.UpSampling1D,
    layers.UpSampling3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.Reshape,
    layers.Flatten,
    layers.Permute,
    layers.Identity,
    # In inference mode.
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.GaussianNoise,
    layers.GaussianDropout,
)
PADDING = (
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
)


def value_range(tensor):
    """The smallest and the largest value that a tensor can have.

    Args:
        tensor: A `keras_rep.calls.Tensor`.

    Returns:
        A tuple of two numbers, infinite where nothing is known.
    """
    call = tensor.producer
    if call is None:
        return UNLIMITED
    layer = call.layer
    function = activation_function(call)
    if function is not None:
        return ACTIVATIONS.get(function, UNLIMITED)
    if isinstance(layer, ACTIVATED):
        return ACTIVATIONS.get(layer.activation, UNLIMITED)
    if type(layer) is layers.ReLU and not layer.negative_slope:
        highest = layer.max_value
        return 0.0, math.inf if highest is None else float(highest)
    if isinstance(layer, SELECTING):
        return value_range(call.inputs[0])
    if isinstance(layer, PADDING):
        low, high = value_range(call.inputs[0])
        return min(low, 0.0), max(high, 0.0)
    if call.is_sum:
        lows, highs = _ranges(call.inputs)
        return sum(lows), sum(highs)
    if type(layer) is layers.Concatenate:
        lows, highs = _ranges(call.inputs)
        return min(lows), max(highs)
    return UNLIMITED


def _ranges(tensors):
    return zip(*map(value_range, tensors), strict=True)
