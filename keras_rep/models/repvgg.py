"""RepVGG, and QARepVGG and OREPA-RepVGG by another block."""

import dataclasses
import functools

import keras
from keras import layers

from keras_rep.layers import RepConv
from keras_rep.models.blocks import normalize
from keras_rep.models.images import channel_count
from keras_rep.models.network import (
    choose,
    label,
    load_weights,
    make_network,
)


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
PLUS = {"L2pse": _row(D, 2.5, 5)}


def RepVGG(variant="A0", *, conv=RepConv, padding="centered", **options):
    """RepVGG: a straight row of 3×3 convolutions, once it is deployed.

    Args:
        variant: `"A0"` to `"A2"`, `"B0"` to `"B3"`, `"B1g2"` to `"B3g4"`,
            `"D2se"` with squeeze-and-excitation, or a `Configuration` of your
            own.
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

    gate = {"se_ratio": 1 / 16} if row.has_gate else {}
    block = functools.partial(
        conv, kernel_size=3, padding=padding, activation="relu", **gate
    )

    def features(x):
        *_, last = _outputs(x, row, block).values()
        return last

    options.setdefault("name", f"repvgg_{label(variant)}")
    return make_network(features, **options)


def RepVGGPlus(
    variant="L2pse",
    *,
    conv=RepConv,
    padding="centered",
    auxiliary_heads=True,
    weights=None,
    **options,
):
    """RepVGGplus: RepVGG with a gate behind every block, and more blocks.

    In training it has three more classifiers, whose losses count a tenth each:
    `loss_weights={"classifier": 1.0, "auxiliary_1": 0.1, "auxiliary_2": 0.1,
    "auxiliary_3": 0.1}`. `drop_auxiliary_heads(model)` is what to deploy.

    Args:
        variant: `"L2pse"`, or a `Configuration` of your own.
        conv: The block, as for `RepVGG`.
        padding: `"centered"` or `"same"`, as for `RepVGG`.
        auxiliary_heads: Whether to have the other classifiers; the model then
            returns a dictionary.
        weights: As for `RepVGG`.
        **options: The others, likewise.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is unknown, or the weights do not fit.

    Example:
    >>> model = RepVGGPlus(input_shape=(32, 32, 3), classes=10)
    >>> sorted(model.output)
    ['auxiliary_1', 'auxiliary_2', 'auxiliary_3', 'classifier']
    >>> drop_auxiliary_heads(model).output_shape
    (None, 10)

    Reference:

    - Ding et al. 2021, "RepVGG: Making VGG-style ConvNets Great Again",
      arXiv 2101.03697, and its repository.
    """
    row = choose(PLUS, variant, "RepVGGPlus")
    block = functools.partial(
        conv,
        kernel_size=3,
        padding=padding,
        activation="relu",
        se_ratio=1 / 4,
        se_position="after_activation",
    )
    outputs = {}

    def features(x):
        outputs.update(_outputs(x, row, block))
        *_, last = outputs.values()
        return last

    options.setdefault("name", f"repvgg_plus_{label(variant)}")
    model = make_network(features, **options)
    if auxiliary_heads:
        first, second, third, _ = row.blocks
        ends = (first, second, third // 2)
        heads = {"classifier": model.output}
        for number, end in enumerate(ends, 1):
            tap = outputs[f"stage{number}_{end - 1}"]
            name = f"auxiliary_{number}"
            heads[name] = _head(tap, name, model.layers[-1])
        model = keras.Model(model.input, heads, name=model.name)
    if weights is not None:
        load_weights(model, weights)
    return model


def drop_auxiliary_heads(model):
    """The network without the classifiers that only help in training.

    Args:
        model: A model of `RepVGGPlus`. It is not changed; the weights are
            shared.

    Returns:
        A functional `keras.Model` with one output.
    """
    return keras.Model(model.input, model.output["classifier"], name=model.name)


def _outputs(x, row, block):
    """What each block returns, by its name, in order."""
    outputs = {}
    stem = min(64, int(64 * row.widths[0]))
    outputs["stem"] = x = block(stem, strides=2, name="stem")(x)
    number = 0
    for stage, count in enumerate(row.blocks):
        filters = int(64 * 2**stage * row.widths[stage])
        for index in range(count):
            number += 1
            # Every other one is dense, to mix the groups.
            groups = row.groups if number % 2 == 0 else 1
            name = f"stage{stage + 1}_{index}"
            outputs[name] = x = block(
                filters, strides=1 if index else 2, groups=groups, name=name
            )(x)
    return outputs


def _head(x, name, classifier):
    """Another classifier, on the output of a stage."""
    x = layers.Conv2D(
        channel_count(x),
        3,
        strides=2,
        padding="same",
        use_bias=False,
        name=f"{name}_conv",
    )(x)
    x = normalize(x, f"{name}_norm")
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    return layers.Dense(
        classifier.units, activation=classifier.activation, name=name
    )(x)
