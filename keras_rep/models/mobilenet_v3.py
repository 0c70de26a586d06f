"""MobileNetV3, large and small."""

import dataclasses

from keras import layers

from keras_rep.models.blocks import activate, divisible, make_block
from keras_rep.models.images import channel_count
from keras_rep.models.network import choose, label, make_network

# Of the moving averages, as the published weights were trained.
MOMENTUM = 0.99


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one width.

    Attributes:
        kernel_size: Size of the depthwise kernels.
        filters: Number of filters.
        hidden: Number of hidden channels of each block.
        strides: Strides of the first block.
        has_gate: Whether the blocks have squeeze-and-excitation.
        is_hard: Whether the activation is a hard swish; else ReLU.
    """

    kernel_size: int
    filters: int
    hidden: tuple
    strides: int = 1
    has_gate: bool = False
    is_hard: bool = True


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One network of the family.

    Attributes:
        stages: Tuple of `Stage`.
        last: Filters of the last convolution.
        head: Units between that and the classifier.
    """

    stages: tuple
    last: int
    head: int


CONFIGURATIONS = {
    "large": Configuration(
        (
            Stage(3, 16, (16,), is_hard=False),
            Stage(3, 24, (64, 72), 2, is_hard=False),
            Stage(5, 40, (72, 120, 120), 2, has_gate=True, is_hard=False),
            Stage(3, 80, (240, 200, 184, 184), 2),
            Stage(3, 112, (480, 672), has_gate=True),
            Stage(5, 160, (672, 960, 960), 2, has_gate=True),
        ),
        last=960,
        head=1280,
    ),
    "small": Configuration(
        (
            Stage(3, 16, (16,), 2, has_gate=True, is_hard=False),
            Stage(3, 24, (72, 88), 2, is_hard=False),
            Stage(5, 40, (96, 240, 240), 2, has_gate=True),
            Stage(5, 48, (120, 144), has_gate=True),
            Stage(5, 96, (288, 576, 576), 2, has_gate=True),
        ),
        last=576,
        head=1024,
    ),
}


def MobileNetV3(
    variant="large",
    width=1.0,
    *,
    conv=None,
    pointwise=None,
    activation="hard_swish",
    epsilon=1e-3,
    padding="centered",
    **options,
):
    """MobileNetV3: inverted residuals with squeeze-and-excitation.

    Args:
        variant: `"large"`, `"small"`, or a `Configuration` of your own.
        width: Factor of all numbers of channels.
        conv: The block of the first and the depthwise convolutions, with the
            arguments of `Conv2D`; `None` for a plain convolution and a
            normalization.
        pointwise: The block of the 1×1 convolutions, likewise.
        activation: What stands for the hard swish. `"relu6"` and `"relu"`
            quantize better and become part of the convolution before; the
            gates are hard sigmoids in any case.
        epsilon: Of the normalizations: `1e-3` as torchvision trains them, or
            `1e-5` as timm does.
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
    >>> model = MobileNetV3("small", input_shape=(32, 32, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    Reference:

    - Howard et al. 2019, "Searching for MobileNetV3", arXiv 1905.02244.
    """
    row = choose(CONFIGURATIONS, variant, "MobileNetV3")
    block = make_block(
        conv, pointwise, padding, epsilon=epsilon, momentum=MOMENTUM
    )

    def make_residual(inputs, name, stage, hidden, strides):
        kind = activation if stage.is_hard else "relu"
        filters, hidden = divisible(stage.filters * width), divisible(hidden)
        x = inputs
        if hidden != channel_count(inputs):
            x = block(x, f"{name}_expand", hidden, 1, activation=kind)
        x = block(
            x,
            f"{name}_depthwise",
            hidden,
            stage.kernel_size,
            strides,
            groups=hidden,
            activation=kind,
        )
        if stage.has_gate:
            x = _gate(x, f"{name}_gate")
        x = block(x, f"{name}_project", filters, 1)
        if strides == 1 and channel_count(inputs) == filters:
            x = layers.Add(name=f"{name}_add")([inputs, x])
        return x

    def features(x):
        stem = divisible(16 * width)
        x = block(x, "stem", stem, strides=2, activation=activation)
        for number, stage in enumerate(row.stages, 1):
            for index, hidden in enumerate(stage.hidden):
                name = f"stage{number}_{index}"
                strides = 1 if index else stage.strides
                x = make_residual(x, name, stage, hidden * width, strides)
        last = divisible(row.last * width)
        x = block(x, "last", last, 1, activation=activation)
        if options.get("include_top", True):
            x = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
            x = layers.Conv2D(divisible(row.head * width), 1, name="head")(x)
            x = activate(x, "head", activation)
        return x

    options.setdefault("name", f"mobilenet_v3_{label(variant)}")
    return make_network(features, **options)


def _gate(inputs, name):
    """Squeeze-and-excitation with a hard sigmoid."""
    channels = channel_count(inputs)
    x = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(
        inputs
    )
    hidden = divisible(channels // 4)
    x = layers.Conv2D(hidden, 1, activation="relu", name=f"{name}_reduce")(x)
    x = layers.Conv2D(
        channels, 1, activation="hard_sigmoid", name=f"{name}_expand"
    )(x)
    return layers.Multiply(name=name)([inputs, x])
