"""MobileNet, the first version."""

from keras_rep.models.blocks import divisible, make_block
from keras_rep.models.network import make_network

# Filters, number of blocks, strides of the first one.
STAGES = (
    (64, 1, 1),
    (128, 2, 2),
    (256, 2, 2),
    (512, 6, 2),
    (1024, 2, 2),
)


def MobileNetV1(
    width=1.0,
    *,
    conv=None,
    pointwise=None,
    activation="relu",
    stages=STAGES,
    padding="centered",
    **options,
):
    """MobileNet: depthwise 3×3 and 1×1 convolutions in turn.

    Args:
        width: Factor of all numbers of filters.
        conv: The block of the first and the depthwise convolutions: `DBBConv`
            for MobileNet as its paper trains it, or any other with the
            arguments of `Conv2D`; `None` for a plain convolution and a
            normalization.
        pointwise: The block of the 1×1 convolutions, likewise.
        activation: `"relu"`, or another activation.
        stages: Rows of filters, number of blocks, and strides of the first.
        padding: `"centered"`, as PyTorch pads, or `"same"`, which leaves no
            PAD in a deployed file.
        **options: `include_top`, `weights`, `input_shape`, `pooling`,
            `classes`, `classifier_activation` and `name`, as for
            `keras.applications`; see `make_network`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is unknown, or the weights do not fit.

    Example:
    >>> model = MobileNetV1(0.25, input_shape=(32, 32, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    Reference:

    - Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks
      for Mobile Vision Applications", arXiv 1704.04861.
    - Ding et al. 2021, "Diverse Branch Block", arXiv 2103.13425, with
      `DBBConv`.
    """
    block = make_block(conv, pointwise, padding)

    def features(x):
        channels = divisible(32 * width)
        x = block(x, "stem", channels, strides=2, activation=activation)
        for stage, (filters, count, first) in enumerate(stages, 1):
            for index in range(count):
                name = f"stage{stage}_{index}"
                strides = 1 if index else first
                x = block(
                    x,
                    f"{name}_depthwise",
                    channels,
                    strides=strides,
                    groups=channels,
                    activation=activation,
                )
                channels = divisible(filters * width)
                x = block(
                    x, f"{name}_project", channels, 1, activation=activation
                )
        return x

    options.setdefault("name", "mobilenet_v1")
    return make_network(features, **options)
