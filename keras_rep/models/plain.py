"""What networks take of plain Keras layers: pooling, joining, gates."""

from keras import layers

from keras_rep.models.images import channel_axis, channel_count


def pool(x, kind, padding, name):
    """Pools 3×3 windows, two pixels apart, of an image behind a ReLU.

    Args:
        x: Image tensor, nowhere negative.
        kind: `"max"` or `"average"`, which counts zeros around the image.
        padding: `"centered"` or `"same"`.
        name: Name of the layer.
    """
    if padding == "centered":
        # Every window has a pixel of the image, none of which is below zero.
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        padding = "valid"
    pools = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
    return pools[kind](3, 2, padding, name=name)(x)


def concatenate(images, name):
    """Puts the channels of several image tensors behind each other."""
    return layers.Concatenate(channel_axis(), name=name)(images)


def squeeze_excite(x, ratio, name):
    """Multiplies each channel by a number that the whole image's means give.

    Hu et al. 2017, arXiv 1709.01507.

    Args:
        x: Image tensor.
        ratio: Hidden units as a share of the channels.
        name: Beginning of the layers' names.

    Raises:
        ValueError: If no hidden unit is left.
    """
    channels = channel_count(x)
    hidden = int(channels * ratio)
    if hidden < 1:
        raise ValueError(
            f"Squeeze-and-excitation has no hidden unit. Received: se_ratio="
            f"{ratio} for {channels} channels. Expected at least one. Use a "
            "larger ratio or a larger width."
        )
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
    gate = layers.Conv2D(hidden, 1, activation="relu", name=f"{name}_reduce")(
        gate
    )
    gate = layers.Conv2D(
        channels, 1, activation="sigmoid", name=f"{name}_expand"
    )(gate)
    return layers.Multiply(name=name)([x, gate])
