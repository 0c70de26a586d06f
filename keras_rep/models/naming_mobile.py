"""What the tensors of published mobile networks are called."""

import dataclasses

from keras_rep.models.naming import Naming

# Of each stage: the number of blocks, and whether they are gated. The tables of
# the networks themselves would be a circular import.
V2 = (1, 2, 3, 4, 3, 3, 1)
V3 = {
    "large": ((1, 2, 3, 4, 2, 3), (False, False, True, False, True, True)),
    "small": ((1, 2, 3, 2, 3), (True, False, True, True, True)),
}


@dataclasses.dataclass(frozen=True)
class DenseNaming(Naming):
    """Where a 1×1 convolution of one pixel is a dense layer at the source."""

    def value_of(self, model, variable, tensors):
        value = super().value_of(model, variable, tensors)
        if len(variable.shape) == 4 and value.ndim == 2:
            return value.reshape(1, 1, *value.shape)
        return value


def _blocks(rename):
    """The rule for all layers of the blocks.

    Args:
        rename: Function of a block's stage and number, both from 0, and of a
            layer, such as `"expand_conv"`, that gives the layer's name there;
            a `LookupError` stands for none.
    """

    def replace(found):
        stage, index = int(found[1]) - 1, int(found[2])
        try:
            name = rename(stage, index, found[3].replace("/", "_"))
        except LookupError:
            return found[0]
        return f"{name}/"

    # What is behind the last slash is the variable.
    return (r"^stage(\d+)_(\d+)[/_](.+)/", replace)


def _ends(stem, last, **others):
    """The rules for what stands before and behind the blocks.

    Args:
        stem: Names of the first convolution and its normalization.
        last: Names of the last ones.
        **others: Names of other layers.
    """
    names = {
        "stem_conv": stem[0],
        "stem_norm": stem[1],
        "last_conv": last[0],
        "last_norm": last[1],
        **others,
    }
    return tuple((f"^{ours}/", f"{name}/") for ours, name in names.items())


# Of a block without and with a first 1×1 convolution.
TIMM_SEPARABLE = {
    "depthwise_conv": "conv_dw",
    "depthwise_norm": "bn1",
    "gate_reduce": "se.conv_reduce",
    "gate_expand": "se.conv_expand",
    "project_conv": "conv_pw",
    "project_norm": "bn2",
}
TIMM_INVERTED = {
    **TIMM_SEPARABLE,
    "expand_conv": "conv_pw",
    "expand_norm": "bn1",
    "depthwise_norm": "bn2",
    "project_conv": "conv_pwl",
    "project_norm": "bn3",
}


def _timm(source, last, separable, **others):
    """The names of timm.

    Args:
        source: Whose names these are.
        last: Names of the last convolution and its normalization.
        separable: Number of stages, the first ones, of blocks without a first
            1×1 convolution.
        **others: Names of other layers.
    """

    def rename(stage, index, layer):
        parts = TIMM_SEPARABLE if stage < separable else TIMM_INVERTED
        return f"blocks.{stage}.{index}.{parts[layer]}"

    stem = ("conv_stem", "bn1")
    rules = (_blocks(rename), *_ends(stem, last, **others))
    return Naming(f"timm's {source}", rules)


def _torchvision(source, counts, in_block, **others):
    """The names of torchvision, which count the blocks through.

    Args:
        source: Whose names these are.
        counts: Number of blocks of each stage.
        in_block: Function of a block's stage and a layer that gives the
            layer's name inside of the block.
        **others: Names of other layers.
    """

    def rename(stage, index, layer):
        number = 1 + sum(counts[:stage]) + index
        return f"features.{number}.{in_block(stage, layer)}"

    end = 1 + sum(counts)
    stem = ("features.0.0", "features.0.1")
    last = (f"features.{end}.0", f"features.{end}.1")
    rules = (_blocks(rename), *_ends(stem, last, **others))
    return DenseNaming(f"torchvision's {source}", rules)


def _in_block_v2(stage, layer):
    first = 0 if stage == 0 else 1
    parts = {
        "depthwise_conv": f"{first}.0",
        "depthwise_norm": f"{first}.1",
        "project_conv": f"{first + 1}",
        "project_norm": f"{first + 2}",
    }
    if stage > 0:
        parts |= {"expand_conv": "0.0", "expand_norm": "0.1"}
    return f"conv.{parts[layer]}"


def _in_block_v3(gated):
    leaves = {"conv": "0", "norm": "1", "reduce": "fc1", "expand": "fc2"}

    def in_block(stage, layer):
        part, _, leaf = layer.partition("_")
        parts = ["expand"] if stage > 0 else []
        parts += ["depthwise"]
        parts += ["gate"] if gated[stage] else []
        parts += ["project"]
        if part not in parts:
            raise KeyError(layer)
        return f"block.{parts.index(part)}.{leaves[leaf]}"

    return in_block


def _torchvision_v3(variant):
    counts, gated = V3[variant]
    return _torchvision(
        f"MobileNetV3 {variant}",
        counts,
        _in_block_v3(gated),
        head="classifier.0",
        classifier="classifier.3",
    )


def _timm_v3(variant):
    end = len(V3[variant][0])
    last = (f"blocks.{end}.0.conv", f"blocks.{end}.0.bn1")
    return _timm(f"MobileNetV3 {variant}", last, 1, head="conv_head")


def _torchvision_shuffle():
    places = {
        "left_depthwise": ("branch1", 0),
        "left_project": ("branch1", 2),
        "right_expand": ("branch2", 0),
        "right_depthwise": ("branch2", 3),
        "right_project": ("branch2", 5),
    }

    def rename(stage, index, layer):
        part, _, leaf = layer.rpartition("_")
        branch, place = places[part]
        place += leaf == "norm"
        return f"stage{stage + 1}.{index}.{branch}.{place}"

    ends = _ends(
        ("conv1.0", "conv1.1"), ("conv5.0", "conv5.1"), classifier="fc"
    )
    return Naming("torchvision's ShuffleNetV2", (_blocks(rename), *ends))


NAMINGS = (
    _torchvision_shuffle(),
    _torchvision(
        "MobileNetV2",
        V2,
        _in_block_v2,
        classifier="classifier.1",
    ),
    _torchvision_v3("large"),
    _torchvision_v3("small"),
    # It has no last convolution.
    _timm("MobileNet", ("conv_head", "bn2"), 5),
    _timm("MobileNetV2", ("conv_head", "bn2"), 1),
    _timm_v3("large"),
    _timm_v3("small"),
)
