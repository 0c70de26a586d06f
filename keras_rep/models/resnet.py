"""ResNet, SE-ResNet and ResNeXt, with any block as their convolutions."""

import dataclasses

from keras import layers

from keras_rep.models.blocks import make_block
from keras_rep.models.network import choose, make_network
from keras_rep.models.plain import pool, squeeze_excite


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One network of the family.

    Attributes:
        blocks: Number of residual blocks of each of the four stages.
        is_bottleneck: Whether they are 1×1, 3×3 and 1×1, or twice 3×3.
        groups: Number of groups of a bottleneck's 3×3.
        group_width: Channels of each group in the first stage.
    """

    blocks: tuple
    is_bottleneck: bool = True
    groups: int = 1
    group_width: int = 64

    def hidden(self, filters):
        """Number of channels inside of a bottleneck.

        Args:
            filters: Width of its stage, a quarter of its output channels.

        Raises:
            ValueError: If a group would have none.
        """
        each = filters * self.group_width // 64
        if each < 1:
            raise ValueError(
                f"The network is too narrow for its {self.groups} groups. "
                f"Received: a stage of width {filters}. Expected at least "
                f"{64 // self.group_width}. Use a larger `width`."
            )
        return each * self.groups


CONFIGURATIONS = {
    "18": Configuration((2, 2, 2, 2), is_bottleneck=False),
    "34": Configuration((3, 4, 6, 3), is_bottleneck=False),
    "50": Configuration((3, 4, 6, 3)),
    "101": Configuration((3, 4, 23, 3)),
    "resnext50_32x4d": Configuration((3, 4, 6, 3), groups=32, group_width=4),
}
EXPANSION = 4
RELU = {"activation": "relu"}


def ResNet(
    variant="50",
    *,
    conv=None,
    pointwise=None,
    stem=None,
    width=1,
    se_ratio=None,
    padding="centered",
    **options,
):
    """ResNet: a bottleneck has its stride on the 3×3, as in torchvision.

    The published forms with rep blocks:

    - ACNet: `conv=ACBConv`, DBB: `conv=DBBConv`. The 7×7 of the stem and all
      1×1 stay plain.
    - OREPA: `conv=OREPAConv, stem=OREPAStemConv`, and for bottlenecks
      `pointwise=OREPAConv` as well.

    Args:
        variant: `"18"`, `"34"`, `"50"`, `"101"` or `"resnext50_32x4d"`.
        conv: The block in place of every 3×3 and its normalization: any with
            the arguments of `Conv2D`. `None` for a plain convolution, here and
            below.
        pointwise: The block in place of every 1×1, also those of shortcuts.
        stem: The block in place of the 7×7.
        width: Factor of all widths.
        se_ratio: Hidden units of squeeze-and-excitation before each sum, as a
            share of its channels; 1/16 for SE-ResNet, `None` for ResNet.
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
    >>> from keras_rep.layers import DBBConv
    >>> model = ResNet(
    ...     "18", conv=DBBConv, width=1 / 8, input_shape=(32, 32, 3), classes=10
    ... )
    >>> model.output_shape
    (None, 10)

    Reference:

    - He et al. 2015, "Deep Residual Learning for Image Recognition", arXiv
      1512.03385.
    - Xie et al. 2016, "Aggregated Residual Transformations for Deep Neural
      Networks", arXiv 1611.05431, for ResNeXt.
    - Hu et al. 2017, "Squeeze-and-Excitation Networks", arXiv 1709.01507.
    - ACNet, arXiv 1908.03930; DBB, 2103.13425; OREPA, 2204.00826.
    """
    row = choose(CONFIGURATIONS, variant, "ResNet")
    convolve = make_block(conv, pointwise, padding)

    def branch(x, name, filters, strides):
        if not row.is_bottleneck:
            x = convolve(x, f"{name}_conv1", filters, 3, strides, **RELU)
            return convolve(x, f"{name}_conv2", filters)
        hidden, groups = row.hidden(filters), row.groups
        x = convolve(x, f"{name}_conv1", hidden, 1, **RELU)
        x = convolve(x, f"{name}_conv2", hidden, 3, strides, groups, **RELU)
        return convolve(x, f"{name}_conv3", EXPANSION * filters, 1)

    def block(x, name, filters, strides):
        outputs = branch(x, name, filters, strides)
        if se_ratio is not None:
            outputs = squeeze_excite(outputs, se_ratio, f"{name}_gate")
        if outputs.shape != x.shape or strides > 1:
            filters *= EXPANSION if row.is_bottleneck else 1
            x = convolve(x, f"{name}_shortcut", filters, 1, strides)
        outputs = layers.Add(name=f"{name}_sum")([outputs, x])
        return layers.Activation("relu", name=name)(outputs)

    def features(x):
        x = make_stem(x, width, padding, stem)
        for name, filters, strides in each_block(row, width):
            x = block(x, name, filters, strides)
        return x

    options.setdefault("name", name_of(variant))
    return make_network(features, **options)


def make_stem(x, width, padding, stem=None):
    """What comes before the blocks: a 7×7, a ReLU and a pooling.

    Args:
        x: Image tensor.
        width: Factor of all widths.
        padding: `"centered"` or `"same"`.
        stem: The block that makes the 7×7; `None` for a plain convolution.
    """
    convolve = make_block(stem, None, padding)
    x = convolve(x, "stem", int(64 * width), 7, 2, **RELU)
    return pool(x, "max", padding, "stem_pool")


def each_block(row, width):
    """The residual blocks in their order.

    Args:
        row: `Configuration`.
        width: Factor of all widths.

    Yields:
        Tuples of a name, the stage's width and the strides.
    """
    for stage, count in enumerate(row.blocks):
        for index in range(count):
            strides = 2 if stage and not index else 1
            name = f"stage{stage + 1}_{index}"
            yield name, int(64 * 2**stage * width), strides


def name_of(variant):
    """Name of the model of a variant."""
    return f"resnet{variant}" if variant.isdigit() else variant
