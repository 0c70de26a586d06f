"""Where the channels of an image are, as Keras' configuration says."""

import keras

from keras_rep import backend


def image_shape(height, width, channels):
    """Shape of an image.

    Args:
        height: In pixels.
        width: In pixels.
        channels: Number of channels.

    Example:
    >>> image_shape(224, 224, 3)
    (224, 224, 3)
    """
    is_last = channel_axis() == -1
    return (height, width, channels) if is_last else (channels, height, width)


def channel_axis():
    """Index of the channel axis of a batch of images."""
    return backend.channel_axis(keras.config.image_data_format())


def channel_count(x):
    """Number of channels of an image tensor."""
    return x.shape[channel_axis()]


def image_size(x):
    """Height and width of an image tensor; `None` where they are open."""
    return tuple(x.shape[1:3] if channel_axis() == -1 else x.shape[2:4])
