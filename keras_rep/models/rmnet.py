"""Networks without residual connections, once they are deployed."""

import dataclasses

from keras_rep.layers import RepConv, RMBlock, RMBottleneck
from keras_rep.layers.arguments import one_of
from keras_rep.models import resnet
from keras_rep.models.blocks import PADDINGS
from keras_rep.models.network import choose, label, make_network

# Pairs of blocks in each of the four stages, and the share of channels that
# the first of each pair reserves.
RMREP = {
    "21": (2, 0.25),
    "37": (4, 0.25),
    "69": (8, 0.5),
    "133": (16, 0.75),
}


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One RMNeXt.

    Attributes:
        blocks: Number of blocks of each of the four stages.
        expansion: Channels of a deployed 3×3, as a multiple of its block's:
            the hidden ones and those that it hands on.
        group_width: Channels of each group in the first stage; each further
            stage has twice as many.
    """

    blocks: tuple
    expansion: int
    group_width: int


# By depth, expansion and width of the groups.
RMNEXT = {
    "41_5x16": Configuration((2, 3, 5, 3), 5, 16),
    "50_5x32": Configuration((3, 4, 6, 3), 5, 32),
    "50_6x32": Configuration((3, 4, 6, 3), 6, 32),
    "101_6x16": Configuration((3, 4, 23, 3), 6, 16),
    "152_6x32": Configuration((3, 8, 36, 3), 6, 32),
}


def RMRep(
    variant="21", *, reserve_ratio=None, width=1, padding="centered", **options
):
    """RMNet's RepVGG, in which every other block passes channels on.

    Reserved channels are what lets it be deep: they are a residual connection
    without an addition.

    Args:
        variant: `"21"`, `"37"`, `"69"` or `"133"`, the number of convolutions.
        reserve_ratio: Share of the channels that every other block reserves;
            by default that of the variant, and 0 for RepVGG of the same depth.
        width: Factor of all widths.
        padding: `"centered"` or `"same"`, which leaves no PAD in a deployed
            file.
        **options: `include_top`, `weights`, `input_shape`, `pooling`,
            `classes`, `classifier_activation` and `name`, as for
            `keras.applications`; see `make_network`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is unknown, or the weights do not fit.

    Example:
    >>> model = RMRep("21", width=1 / 8, input_shape=(64, 64, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    Reference:

    - Meng et al. 2021, "RMNet: Equivalently Removing Residual Connection from
      Networks", arXiv 2111.00687.
    """
    pairs, ratio = choose(RMREP, variant, "RMRep")
    ratio = ratio if reserve_ratio is None else reserve_ratio

    def block(x, name, filters, strides=1, ratio=0.0):
        return RepConv(
            filters,
            3,
            strides,
            padding,
            activation="relu",
            reserve_ratio=ratio,
            name=name,
        )(x)

    def features(x):
        x = block(x, "stem_0", int(64 * width), 2)
        x = block(x, "stem_1", int(64 * width), 2)
        for stage in range(4):
            filters = int(64 * 2**stage * width)
            if stage:
                x = block(x, f"stage{stage + 1}_down", filters, 2)
            for index in range(pairs):
                name = f"stage{stage + 1}_{2 * index}"
                x = block(x, name, filters, ratio=ratio)
                name = f"stage{stage + 1}_{2 * index + 1}"
                x = block(x, name, filters)
        return x

    options.setdefault("name", f"rmrep_{variant}")
    return make_network(features, **options)


def RMResNet(variant="50", *, width=1, padding="centered", **options):
    """ResNet that deploys to a straight row of convolutions.

    It trains as `ResNet` does. Deployed, every block hands its input on in
    channels of its convolutions, and there is nothing to add. That takes more
    parameters: 20 million in place of 12 for `"18"`, but 277 in place of 26 for
    `"50"`, whose 3×3 are dense, and 58 in place of 25 for ResNeXt.

    Args:
        variant: One of `ResNet`.
        width: Factor of all widths.
        padding: `"centered"`, as official weights need it, or `"same"`.
        **options: `include_top`, `weights`, `input_shape`, `pooling`,
            `classes`, `classifier_activation` and `name`, as for
            `keras.applications`; see `make_network`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is unknown, or the weights do not fit.

    Example:
    >>> model = RMResNet("18", width=1 / 8, input_shape=(32, 32, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    Reference:

    - Meng et al. 2021, "RMNet: Equivalently Removing Residual Connection from
      Networks", arXiv 2111.00687.
    """
    row = choose(resnet.CONFIGURATIONS, variant, "RMResNet")

    def block(x, name, filters, strides):
        if not row.is_bottleneck:
            return RMBlock(filters, 3, strides, padding, name=name)(x)
        outputs = resnet.EXPANSION * filters
        return RMBottleneck(
            outputs,
            3,
            strides,
            padding,
            groups=row.groups,
            hidden=row.hidden(filters),
            name=name,
        )(x)

    def features(x):
        x = resnet.make_stem(x, width, padding)
        for name, filters, strides in resnet.each_block(row, width):
            x = block(x, name, filters, strides)
        return x

    options.setdefault("name", f"rm_{resnet.name_of(variant)}")
    return make_network(features, **options)


def RMNeXt(variant="50_5x32", *, width=1, padding="centered", **options):
    """RMNet's own network: grouped 3×3 and 1×1 in a straight row.

    It trains as a residual network of bottlenecks which are wider inside than
    outside. The groups are as wide as what the blocks hand on can be divided
    into, so that the deployed 3×3 stay grouped.

    Args:
        variant: `"41_5x16"`, `"50_5x32"`, `"50_6x32"`, `"101_6x16"` or
            `"152_6x32"`: depth, expansion and channels of each group.
        width: Factor of all widths, also of the groups'.
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
    >>> model = RMNeXt(
    ...     "41_5x16", width=1 / 8, input_shape=(32, 32, 3), classes=10
    ... )
    >>> model.output_shape
    (None, 10)

    Reference:

    - Meng et al. 2021, "RMNet: Equivalently Removing Residual Connection from
      Networks", arXiv 2111.00687.
    """
    row = choose(RMNEXT, variant, "RMNeXt")
    one_of("padding", padding, PADDINGS)

    def features(x):
        for index in range(2):
            x = RepConv(
                int(64 * width),
                3,
                2,
                padding,
                activation="relu",
                name=f"stem_{index}",
            )(x)
        for name, filters, strides in resnet.each_block(row, width):
            x = RMBottleneck(
                filters,
                3,
                strides,
                padding,
                groups=(row.expansion - 1) * 64 // row.group_width,
                hidden=(row.expansion - 1) * filters,
                name=name,
            )(x)
        return x

    options.setdefault("name", f"rmnext{label(variant)}")
    return make_network(features, **options)
