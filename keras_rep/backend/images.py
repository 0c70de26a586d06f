"""Channels of an image, and its dtype."""

import keras
from keras import ops


def channel_axis(data_format):
    """Index of the channel axis of an image."""
    return -1 if data_format == "channels_last" else 1


def per_channel(vector, data_format):
    """Reshapes a per-channel vector so that it broadcasts over an image."""
    if data_format == "channels_last":
        return vector
    return ops.reshape(vector, (-1, 1, 1))


def at_least_single(tensor):
    """Casts half precision to float32 and leaves other dtypes alone."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    is_half = dtype in ("float16", "bfloat16")
    return ops.cast(tensor, "float32") if is_half else tensor


def shift(image, vector, data_format):
    """Adds a per-channel vector to an image.

    By the operator: `keras.ops.add` on TensorFlow takes the vector for a bias
    of the last axis whenever that axis happens to have the vector's length.
    """
    return image + per_channel(ops.cast(vector, image.dtype), data_format)
