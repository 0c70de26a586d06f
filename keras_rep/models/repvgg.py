"""RepVGG, and QARepVGG and OREPA-RepVGG by another block."""

import dataclasses

from keras_rep.layers import RepConv
from keras_rep.models.network import choose, make_network


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One network of the family.

    Attributes:
        blocks: Number of blocks of each of the four stages.
        widths: Factors of the stages' widths of 64, 128, 256 and 512.
        groups: Number of groups of every other block.
        has_gate: Whether blocks end in squeeze-and-excitation.
    """

    blocks: tuple
    widths: tuple
    groups: int = 1
    has_gate: bool = False


A, B, D = (2, 4, 14, 1), (4, 6, 16, 1), (8, 14, 24, 1)


def _row(blocks, a, b, groups=1, has_gate=False):
    return Configuration(blocks, (a, a, a, b), groups, has_gate)


CONFIGURATIONS = {
    "A0": _row(A, 0.75, 2.5),
    "A1": _row(A, 1, 2.5),
    "A2": _row(A, 1.5, 2.75),
    "B0": _row(B, 1, 2.5),
    "B1": _row(B, 2, 4),
    "B1g2": _row(B, 2, 4, 2),
    "B1g4": _row(B, 2, 4, 4),
    "B2": _row(B, 2.5, 5),
    "B2g2": _row(B, 2.5, 5, 2),
    "B2g4": _row(B, 2.5, 5, 4),
    "B3": _row(B, 3, 5),
    "B3g2": _row(B, 3, 5, 2),
    "B3g4": _row(B, 3, 5, 4),
    "D2se": _row(D, 2.5, 5, has_gate=True),
}


def RepVGG(variant="A0", *, conv=RepConv, padding="centered", **options):
    """RepVGG: a straight row of 3×3 convolutions, once it is deployed.

    Args:
        variant: `"A0"` to `"A2"`, `"B0"` to `"B3"`, `"B1g2"` to `"B3g4"`, or
            `"D2se"` with squeeze-and-excitation.
        conv: The block: `RepConv`, `QARepConv` for QARepVGG, `OREPAVGGConv` for
            OREPA-RepVGG, or any other with the arguments of `Conv2D`.
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
    >>> model = RepVGG("A0", input_shape=(32, 32, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    Reference:

    - Ding et al. 2021, "RepVGG: Making VGG-style ConvNets Great Again",
      arXiv 2101.03697.
    - Chu et al. 2022, "Make RepVGG Greater Again: A Quantization-aware
      Approach", arXiv 2212.01593, with `QARepConv`.
    - Hu et al. 2022, "Online Convolutional Re-parameterization",
      arXiv 2204.00826, with `OREPAVGGConv`.
    """
    row = choose(CONFIGURATIONS, variant, "RepVGG")

    def block(x, name, filters, strides, groups=1):
        gate = {"se_ratio": 1 / 16} if row.has_gate else {}
        return conv(
            filters,
            3,
            strides,
            padding,
            groups=groups,
            activation="relu",
            name=name,
            **gate,
        )(x)

    def features(x):
        x = block(x, "stem", min(64, int(64 * row.widths[0])), 2)
        number = 0
        for stage, (count, factor) in enumerate(
            zip(row.blocks, row.widths, strict=True)
        ):
            filters = int(64 * 2**stage * factor)
            for index in range(count):
                number += 1
                # Every other one is dense, to mix the groups.
                groups = row.groups if number % 2 == 0 else 1
                strides = 1 if index else 2
                name = f"stage{stage + 1}_{index}"
                x = block(x, name, filters, strides, groups)
        return x

    options.setdefault("name", f"repvgg_{variant.lower()}")
    return make_network(features, **options)
