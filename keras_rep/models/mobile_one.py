"""MobileOne."""

import dataclasses

from keras_rep.layers import MobileOneConv
from keras_rep.models.network import choose, label, make_network


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One network of the family.

    Attributes:
        widths: Factors of the stages' widths of 64, 128, 256 and 512.
        branches: Number of k×k branches of each block.
        gated: Number of pairs with squeeze-and-excitation at the end of each
            stage.
        pairs: Number of pairs of a depthwise and a pointwise block in each.
    """

    widths: tuple
    branches: int = 1
    gated: tuple = (0, 0, 0, 0)
    pairs: tuple = (2, 8, 10, 1)


CONFIGURATIONS = {
    "S0": Configuration((0.75, 1, 1, 2), branches=4),
    "S1": Configuration((1.5, 1.5, 2, 2.5)),
    "S2": Configuration((1.5, 2, 2.5, 4)),
    "S3": Configuration((2, 2.5, 3, 4)),
    "S4": Configuration((3, 3.5, 3.5, 4), gated=(0, 0, 5, 1)),
}


def MobileOne(
    variant="S0", *, conv=MobileOneConv, padding="centered", **options
):
    """MobileOne: depthwise and pointwise convolutions in turn.

    Args:
        variant: `"S0"` to `"S4"`, of which the last has
            squeeze-and-excitation, or a `Configuration` of your own.
        conv: The block: `MobileOneConv`, or any other with the arguments of
            `Conv2D`.
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
    >>> model = MobileOne("S0", input_shape=(32, 32, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    Reference:

    - Vasu et al. 2022, "MobileOne: An Improved One millisecond Mobile
      Backbone", arXiv 2206.04040.
    """
    row = choose(CONFIGURATIONS, variant, "MobileOne")

    def block(x, name, filters, kernel_size, strides=1, **more):
        if conv is MobileOneConv:
            more.setdefault("conv_branches", row.branches)
        return conv(
            filters,
            kernel_size,
            strides,
            padding,
            activation="relu",
            name=name,
            **more,
        )(x)

    def features(x):
        branches = {"conv_branches": 1} if conv is MobileOneConv else {}
        stem = min(64, int(64 * row.widths[0]))
        x = block(x, "stem", stem, 3, 2, **branches)
        channels = stem
        for stage, count in enumerate(row.pairs):
            filters = int(64 * 2**stage * row.widths[stage])
            for pair in range(count):
                is_gated = pair >= count - row.gated[stage]
                gate = {"se_ratio": 1 / 16} if is_gated else {}
                name = f"stage{stage + 1}_{2 * pair}"
                strides = 1 if pair else 2
                x = block(
                    x, name, channels, 3, strides, groups=channels, **gate
                )
                name = f"stage{stage + 1}_{2 * pair + 1}"
                x = block(x, name, filters, 1, **gate)
                channels = filters
        return x

    options.setdefault("name", f"mobileone_{label(variant)}")
    return make_network(features, **options)
