import keras
import numpy as np
from keras import layers

from keras_rep.absorbing import pull
from keras_rep.affine import LINEAR
from keras_rep.commuting import Affine
from keras_rep.errors import Skip
from keras_rep.terms import read_numpy


def fold_rescaling(call):
    """`convolution(Rescaling(x))` → `convolution(x)`; `Normalization` likewise.

    Exact where no padding is in the way, or where nothing is added. The model
    then takes the raw image.
    """
    if type(call.layer) not in LINEAR:
        return None
    is_first = getattr(call.layer, "data_format", None) == "channels_first"
    return pull(
        call,
        (layers.Rescaling, layers.Normalization),
        lambda norm: _read(norm, is_first),
    )


def _read(call, channels_first):
    """The `Affine` of a call of one of the two layers."""
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
