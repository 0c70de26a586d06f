"""One gain and one offset per channel: where they come from and move to.

Normalizations are such maps in inference mode. A convolution takes them up
behind itself, and in front where no padding is in the way.
"""

import keras
import numpy as np
from keras import layers

from keras_rep.cloning import config_of
from keras_rep.errors import Skip
from keras_rep.grid import same_pads

PLAIN = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
TRANSPOSED = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)
CONVOLUTIONS = (*PLAIN, *DEPTHWISE, *SEPARABLE, *TRANSPOSED)
LINEAR = (*CONVOLUTIONS, layers.Dense)
ZERO_PADDING = (
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
)


def split_norm(norm, weights):
    """Weights of a normalization as float64 arrays, with those left out.

    Args:
        norm: A `BatchNormalization`, maybe not built.
        weights: List of arrays, in the order of its weights.

    Returns:
        A list `[gamma, beta, mean, variance]`, and behind those whatever
        renormalization adds.
    """
    weights = [np.asarray(x, "float64") for x in weights]
    if not norm.scale:
        weights.insert(0, np.ones_like(weights[-1]))
    if not norm.center:
        weights.insert(1, np.zeros_like(weights[0]))
    return weights


def channel_axis(layer, rank):
    """The axis of a layer's channels, counted from the front.

    Args:
        layer: A layer, maybe with a data format.
        rank: Number of axes of its input or output.
    """
    is_first = getattr(layer, "data_format", None) == "channels_first"
    return 1 if is_first else rank - 1


def check_weights(layer):
    """Raises `Skip` where a convolution has weights of another kind."""
    if getattr(layer, "quantization_mode", None):
        raise Skip(f"'{layer.name}' is quantized")
    if getattr(layer, "lora_enabled", False):
        raise Skip(f"'{layer.name}' has LoRA weights")


def check_linear(layer):
    """Raises `Skip` unless a convolution or `Dense` is linear."""
    if layer.activation is not keras.activations.linear:
        raise Skip(f"an activation stands between it and '{layer.name}'")
    check_weights(layer)


def reads_image_only(layer, input_shape):
    """Whether a convolution never reads beyond the edges of its input.

    Args:
        layer: A convolution or `Dense`.
        input_shape: Shape of its input.
    """
    if isinstance(layer, TRANSPOSED):
        return False
    padding = getattr(layer, "padding", "valid")
    if padding == "valid":
        return True
    first = 2 if layer.data_format == "channels_first" else 1
    sizes = input_shape[first:][: len(layer.kernel_size)]
    axes = zip(
        sizes,
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        strict=True,
    )
    return padding == "same" and all(
        same_pads(*axis) == (0, 0) for axis in axes
    )


def with_bias(layer, **changes):
    """A new layer of the same configuration, with a bias.

    Args:
        layer: A convolution or `Dense`.
        **changes: Other values of its configuration.
    """
    config = {**config_of(layer), "use_bias": True, **changes}
    return type(layer).from_config(config)


def split_bias(layer, weights):
    """Weights as float64 kernels and a bias, zero where the layer has none.

    Args:
        layer: A convolution or `Dense`, maybe not built.
        weights: List of arrays, in the order of its weights.
    """
    *kernels, bias = [np.asarray(x, "float64") for x in weights]
    if layer.use_bias:
        return kernels, bias
    kernels = [*kernels, bias]
    if isinstance(layer, DEPTHWISE):
        filters = kernels[0].shape[-2] * kernels[0].shape[-1]
    else:
        axis = -2 if isinstance(layer, TRANSPOSED) else -1
        filters = kernels[-1].shape[axis]
    return kernels, np.zeros(filters)


def scale_outputs(layer, weights, gain, offset):
    """Weights of a convolution that is followed by `y * gain + offset`.

    Args:
        layer: A convolution or `Dense`, maybe not built.
        weights: List of arrays, in the order of its weights.
        gain: Array of shape `(filters,)`.
        offset: Array of shape `(filters,)`.

    Returns:
        List of float64 arrays, for the layer with a bias.
    """
    (*before, kernel), bias = split_bias(layer, weights)
    if isinstance(layer, DEPTHWISE):
        kernel = kernel * gain.reshape(kernel.shape[-2:])
    elif isinstance(layer, TRANSPOSED):
        kernel = kernel * gain[:, None]
    else:
        kernel = kernel * gain
    return [*before, kernel, bias * gain + offset]


def scale_inputs(layer, weights, gain, offset):
    """Weights of a convolution that reads `x * gain + offset` instead of `x`.

    Exact where the convolution reads nothing but the image. Where it pads the
    image with zeros, or is a transposed one, `offset` must be zero.

    Args:
        layer: A convolution or `Dense`, maybe not built.
        weights: List of arrays, in the order of its weights.
        gain: Array of shape `(channels,)`.
        offset: Array of shape `(channels,)`.

    Returns:
        List of float64 arrays, for the layer with a bias.
    """
    (kernel, *behind), bias = split_bias(layer, weights)
    taps = tuple(range(kernel.ndim - 2))
    if isinstance(layer, TRANSPOSED):
        return [kernel * gain, bias]
    if isinstance(layer, DEPTHWISE + SEPARABLE):
        response = (kernel.sum(taps) * offset[:, None]).ravel()
        if behind:
            (pointwise,) = behind
            response = response @ pointwise.sum(taps)
        return [kernel * gain[:, None], *behind, bias + response]
    # Output channel o of a grouped convolution belongs to group o // width.
    groups = getattr(layer, "groups", 1)
    width = kernel.shape[-1] // groups
    gains, offsets = (
        np.repeat(x.reshape(groups, -1).T, width, axis=1)
        for x in (gain, offset)
    )
    return [kernel * gains, bias + (kernel.sum(taps) * offsets).sum(0)]
