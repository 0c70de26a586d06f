"""Layers that commute with one gain and one offset per channel.

A normalization in inference mode is such a map. It may move through layers
that give the same result either way round.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_rep.affine import ZERO_PADDING, channel_axis, split_norm
from keras_rep.errors import Skip
from keras_rep.terms import read_numpy

# What these do to one number depends on no other, nor on its scale.
ELEMENTWISE = (
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
)
# These pick values of a channel, or take means of them.
AVERAGING = (
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
)
# These pick values of a channel by their order.
ORDERING = (
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)
RESHAPING = (layers.Flatten, layers.Reshape)
COMMUTING = (
    *ELEMENTWISE,
    *AVERAGING,
    *ORDERING,
    *ZERO_PADDING,
    *RESHAPING,
    layers.Permute,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """`y * gain + offset` along one axis.

    Attributes:
        gain: Float64 array, one number for each channel.
        offset: Float64 array, likewise.
        axis: The axis, counted from the front.
        origin: Tuple that tells it from others: the normalization, and which
            part of it this is.
    """

    gain: Any
    offset: Any
    axis: int
    origin: tuple

    def part(self, mark, **changes):
        """A part of it, with other values."""
        origin = (*self.origin, mark)
        return dataclasses.replace(self, origin=origin, **changes)


def forward(affine, call):
    """The `Affine` behind a call for one in front of it; raises `Skip`."""
    return _move(affine, call, call.inputs[0].shape, call.output.shape)


def backward(affine, call):
    """The `Affine` in front of a call for one behind it; raises `Skip`."""
    return _move(affine, call, call.output.shape, call.inputs[0].shape)


def _move(affine, call, here, there):
    layer = call.layer
    name = f"'{layer.name}'"
    if type(layer) not in COMMUTING:
        raise Skip(
            f"its input is not the output of a convolution: {name} (of type "
            f"{type(layer).__name__}) stands between"
        )
    if type(layer) in ELEMENTWISE:
        return affine
    if type(layer) is layers.Permute:
        return _permute(affine, layer, is_forward=there is call.output.shape)
    if type(layer) in RESHAPING:
        return _reshape(affine, layer, here, there)
    if affine.axis != channel_axis(layer, len(here)):
        raise Skip(f"{name} mixes what axis {affine.axis} is normalized by")
    # One value is the largest of itself.
    is_choice = set(getattr(layer, "pool_size", (None,))) != {1}
    if type(layer) in ORDERING and is_choice and (affine.gain <= 0).any():
        raise Skip(
            f"{name} takes the largest value, and a gain is not positive"
        )
    if type(layer) in ZERO_PADDING and affine.offset.any():
        raise Skip(f"{name} pads with zeros, which have no offset")
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise Skip(f"{name} interpolates")
    # Global pooling may drop all axes but that of the channels.
    return dataclasses.replace(affine, axis=channel_axis(layer, len(there)))


def _permute(affine, layer, is_forward):
    dims = (0, *layer.dims)
    axis = dims.index(affine.axis) if is_forward else dims[affine.axis]
    return dataclasses.replace(affine, axis=axis)


def _reshape(affine, layer, here, there):
    """The values laid out anew, if they still depend on one axis only."""
    if None in here[1:] or None in there[1:]:
        raise Skip(f"'{layer.name}' reshapes axes of unknown length")
    if getattr(layer, "data_format", None) == "channels_first":
        raise Skip(f"'{layer.name}' moves the channels behind the pixels")
    sizes = [1] * (len(here) - 1)
    sizes[affine.axis - 1] = -1
    gain, offset = (
        np.broadcast_to(x.reshape(sizes), here[1:]).reshape(there[1:])
        for x in (affine.gain, affine.offset)
    )
    for axis in reversed(range(1, len(there))):
        others = tuple(i for i in range(len(there) - 1) if i != axis - 1)
        # A constant range along the others: one value for each channel.
        if not any(np.ptp(x, axis=others).any() for x in (gain, offset)):
            first = tuple(
                slice(None) if i == axis - 1 else 0
                for i in range(len(there) - 1)
            )
            return dataclasses.replace(
                affine, gain=gain[first], offset=offset[first], axis=axis
            )
    raise Skip(f"'{layer.name}' puts pixels of a channel among the channels")


def norm_affine(call):
    """The `Affine` of a call of `BatchNormalization` in inference mode."""
    norm = call.layer
    gamma, beta, mean, variance, *_ = split_norm(norm, call.weights())
    gain = gamma / np.sqrt(variance + norm.epsilon)
    axis = norm.axis % len(call.output.shape)
    return Affine(gain, beta - mean * gain, axis, (norm,))


def rescaling_affine(call, channels_first=False):
    """The `Affine` of a call of `Rescaling` or `Normalization`.

    Args:
        call: The `Call`.
        channels_first: Whether the channels lie along the second axis.

    Raises:
        Skip: If it does something else, too.
    """
    layer = call.layer
    (tensor,) = call.inputs
    if tensor.spec.dtype != call.output.spec.dtype:
        raise Skip(f"it casts {tensor.spec.dtype} to {call.output.spec.dtype}")
    if type(layer) is layers.Rescaling:
        gain, offset = layer.scale, layer.offset
    else:
        gain, offset = _normalization(layer)
    gain, offset = (np.asarray(x, "float64") for x in (gain, offset))
    rank = len(tensor.shape)
    axis = 1 if channels_first else rank - 1
    channels = tensor.shape[axis]
    for values in (gain, offset):
        # What broadcasts along the last axis is one number for each channel
        # only if that is where the channels are.
        if values.size == 1:
            continue
        if channels_first or values.shape[-1] != values.size:
            raise Skip("its numbers differ along other axes than the channels")
    gain, offset = (
        np.broadcast_to(x.ravel(), (channels,)) for x in (gain, offset)
    )
    return Affine(gain, offset, axis, (layer,))


def _normalization(layer):
    if layer.mean is None or layer.variance is None:
        raise Skip("it was not adapted to data")
    mean, variance = (
        read_numpy(x).astype("float64") for x in (layer.mean, layer.variance)
    )
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    if layer.invert:
        return deviation, mean
    return 1.0 / deviation, -mean / deviation
