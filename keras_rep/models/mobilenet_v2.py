"""MobileNetV2, and the same without residuals once it is deployed."""

from keras import layers

from keras_rep.models.blocks import divisible, make_block
from keras_rep.models.images import channel_count
from keras_rep.models.network import make_network

# Expansion, filters, number of blocks, strides of the first one.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def MobileNetV2(
    width=1.0,
    *,
    conv=None,
    pointwise=None,
    residual=None,
    activation="relu6",
    stages=STAGES,
    padding="centered",
    **options,
):
    """MobileNetV2: inverted residuals, whose ends are linear.

    Args:
        width: Factor of the numbers of filters.
        conv: The block of the first and the depthwise convolutions, with the
            arguments of `Conv2D`; `None` for a plain convolution and a
            normalization.
        pointwise: The block of the 1×1 convolutions, likewise.
        residual: The layer that is a whole inverted residual:
            `RMInvertedResidual`, which deploys without `Add`. Then `conv` and
            `pointwise` are the blocks of the first and the last convolution.
            `None` for one of three convolutions.
        activation: `"relu6"`, or another activation.
        stages: Rows of expansion, filters, number of blocks, and strides of
            the first.
        padding: `"centered"`, as official weights need it, or `"same"`, which
            leaves no PAD in a deployed file.
        **options: `include_top`, `weights`, `input_shape`, `pooling`,
            `classes`, `classifier_activation` and `name`, as for
            `keras.applications`; see `make_network`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is unknown, or the weights do not fit.

    Example:
    >>> model = MobileNetV2(0.35, input_shape=(32, 32, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    Reference:

    - Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear
      Bottlenecks", arXiv 1801.04381.
    - Meng et al. 2021, "RMNet: Equivalently Removing Residual Connection from
      Networks", arXiv 2111.00687, with `RMInvertedResidual`.
    """
    block = make_block(conv, pointwise, padding)

    def make_residual(inputs, name, expansion, filters, strides):
        if residual is not None:
            return residual(
                filters,
                strides=strides,
                padding=padding,
                activation=activation,
                expansion=expansion,
                name=name,
            )(inputs)
        x, hidden = inputs, channel_count(inputs) * expansion
        if expansion > 1:
            x = block(x, f"{name}_expand", hidden, 1, activation=activation)
        x = block(
            x,
            f"{name}_depthwise",
            hidden,
            strides=strides,
            groups=hidden,
            activation=activation,
        )
        x = block(x, f"{name}_project", filters, 1)
        if strides == 1 and channel_count(inputs) == filters:
            x = layers.Add(name=f"{name}_add")([inputs, x])
        return x

    def features(x):
        stem = divisible(32 * width)
        x = block(x, "stem", stem, strides=2, activation=activation)
        for stage, (expansion, filters, count, first) in enumerate(stages, 1):
            for index in range(count):
                x = make_residual(
                    x,
                    f"stage{stage}_{index}",
                    expansion,
                    divisible(filters * width),
                    1 if index else first,
                )
        last = divisible(1280 * max(1.0, width))
        return block(x, "last", last, 1, activation=activation)

    options.setdefault("name", "mobilenet_v2")
    return make_network(features, **options)
