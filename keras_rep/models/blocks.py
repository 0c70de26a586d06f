"""One convolution of a network, plain or a block, and its width."""

from keras import initializers, layers

from keras_rep.layers.arguments import one_of
from keras_rep.models.images import channel_axis, channel_count

# PyTorch's, on which the published recipes rely.
NORM = {"epsilon": 1e-5, "momentum": 0.9}
# Without one, the summands of a residual block would differ in size.
PADDINGS = ("centered", "same")


def make_block(conv, pointwise, padding, **norm):
    """Makes the function that adds one convolution to a network.

    Args:
        conv: The block of the convolutions larger than 1×1, with the arguments
            of `Conv2D`; `None` for a plain convolution and a normalization.
        pointwise: The block of the 1×1 convolutions, likewise.
        padding: `"centered"` or `"same"`.
        **norm: `epsilon` and `momentum` of the normalizations, if they are not
            those of the blocks.

    Returns:
        Function `block(x, name, filters, kernel_size, strides, groups,
        activation)` that returns a tensor.

    Raises:
        ValueError: If the padding is another one.
    """
    one_of("padding", padding, PADDINGS)

    def block(
        x, name, filters, kernel_size=3, strides=1, groups=1, activation=None
    ):
        kind = pointwise if kernel_size == 1 else conv
        if kind is None:
            x = _plain(
                x, name, filters, kernel_size, strides, padding, groups, norm
            )
            return activate(x, name, activation)
        return kind(
            filters,
            kernel_size,
            strides,
            padding,
            groups=groups,
            activation=activation,
            name=name,
            **norm,
        )(x)

    return block


def activate(x, name, activation):
    """Adds an activation, unless it is `None`.

    Args:
        x: Tensor.
        name: Name of what it belongs to.
        activation: Name of an activation, or `None`.
    """
    if activation is None:
        return x
    return layers.Activation(activation, name=f"{name}_act")(x)


def normalize(x, name, **norm):
    """Adds a batch normalization.

    Args:
        x: Image tensor.
        name: Name of the layer.
        **norm: `epsilon` and `momentum`, if they are not PyTorch's.
    """
    options = {"axis": channel_axis(), **NORM, **norm}
    return layers.BatchNormalization(name=name, **options)(x)


def divisible(channels, divisor=8):
    """The multiple of a number that is nearest, but not below 90 %.

    Args:
        channels: Number of channels.
        divisor: What the result is a multiple of.

    Example:
    >>> divisible(32 * 0.35), divisible(24 * 1.4)
    (16, 32)
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


def _plain(x, name, filters, kernel_size, strides, padding, groups, norm):
    """A convolution and a normalization."""
    options = {"use_bias": False, "name": f"{name}_conv", "padding": "same"}
    if padding == "centered" and strides > 1 and kernel_size > 1:
        # With strides, "same" pads an even image at its end only.
        pad = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")
        x, options["padding"] = pad(x), "valid"
    if groups == filters == channel_count(x):
        conv = layers.DepthwiseConv2D(
            kernel_size,
            strides,
            depthwise_initializer=_uniform("fan_out"),
            **options,
        )
    else:
        conv = layers.Conv2D(
            filters,
            kernel_size,
            strides,
            groups=groups,
            kernel_initializer=_uniform("fan_in"),
            **options,
        )
    return normalize(conv(x), f"{name}_norm", **norm)


def _uniform(mode):
    """PyTorch's initializer; Keras takes a depthwise kernel's fans apart.

    There, the channels that other filters read count as inputs, so that what
    each filter reads is its "fan_out".
    """
    return initializers.VarianceScaling(1 / 3, mode, "uniform")
