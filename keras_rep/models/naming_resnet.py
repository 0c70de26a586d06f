"""Names of the tensors of published ResNets, plain and of rep blocks."""

import dataclasses
import re

import numpy as np

from keras_rep.models.naming import Naming

BLOCK = r"^stage(\d+)_(\d+)"
# Stages of a residual layer, and the convolution of torchvision that each is.
RESIDUAL = {
    "conv_1": 1,
    "conv_2": 2,
    "reduce": 1,
    "spatial": 2,
    "expand": 3,
}

# Also timm's, which has squeeze-and-excitation too.
TORCHVISION = Naming(
    "torchvision's ResNet",
    (
        (r"^stem_conv/", "conv1/"),
        (r"^stem_norm/", "bn1/"),
        (r"^classifier/", "fc/"),
        (rf"{BLOCK}_conv(\d)_conv/", r"layer\1.\2.conv\3/"),
        (rf"{BLOCK}_conv(\d)_norm/", r"layer\1.\2.bn\3/"),
        (
            rf"{BLOCK}(_shortcut_|/projection/)conv/",
            r"layer\1.\2.downsample.0/",
        ),
        (
            rf"{BLOCK}(_shortcut_|/projection/)norm/",
            r"layer\1.\2.downsample.1/",
        ),
        (rf"{BLOCK}_gate_reduce/", r"layer\1.\2.se.fc1/"),
        (rf"{BLOCK}_gate_expand/", r"layer\1.\2.se.fc2/"),
        *(
            (rf"{BLOCK}/{stage}/{part}/", rf"layer\1.\2.{name}{number}/")
            for stage, number in RESIDUAL.items()
            for part, name in (("conv", "conv"), ("norm", "bn"))
        ),
    ),
)


def _rules(stem, *blocks):
    """Rules for the repositories of ACNet, DBB and OREPA."""
    return (
        (r"^stem_", f"{stem}/"),
        (r"^stem/", f"{stem}/"),
        (r"^classifier/", "linear/"),
        (rf"{BLOCK}_(conv\d|shortcut)[_/]", r"stage\1.\2.\3/"),
        # A plain convolution is named as its branch would be.
        (r"^([\w.]+)/norm/", r"\1/bn/"),
        *blocks,
    )


ACB_BRANCHES = tuple(
    (f"/branches/{branch}/{part}/", f"/{name}_{suffix}/")
    for branch, name in (("kxk", "square"), ("column", "ver"), ("row", "hor"))
    for part, suffix in (("conv", "conv"), ("norm", "bn"))
)
DBB_BRANCHES = (
    ("/branches/kxk/conv/", "/dbb_origin.conv/"),
    ("/branches/kxk/norm/", "/dbb_origin.bn/"),
    ("/branches/point/conv/", "/dbb_1x1.conv/"),
    ("/branches/point/norm/", "/dbb_1x1.bn/"),
    ("/branches/average/conv/", "/dbb_avg.conv/"),
    ("/branches/average/norm/", "/dbb_avg.bn.bn/"),
    ("/branches/average/norm_1/", "/dbb_avg.avgbn/"),
    ("/branches/point_kxk/merged/term/deviation/", "/dbb_1x1_kxk.idconv1/"),
    ("/branches/point_kxk/norm/", "/dbb_1x1_kxk.bn1.bn/"),
    ("/branches/point_kxk/conv/", "/dbb_1x1_kxk.conv2/"),
    ("/branches/point_kxk/norm_1/", "/dbb_1x1_kxk.bn2/"),
)
OREPA_BRANCHES = (
    (r"/branches/norm/", "/bn/"),
    (r"/branches/merged/term/sum/", "/weight0/"),
    (r"/branches/merged/term/sum_(\d)/", r"/weight\1/"),
    (r"/branches/merged/term/", "/"),
    (r"/\w+/channel_scale/gain$", "/vector"),
    (r"/origin/conv/kernel$", "/weight_orepa_origin"),
    (r"/average/conv/kernel$", "/weight_orepa_avg_conv"),
    (r"/prior/conv/kernel$", "/weight_orepa_pfir_conv"),
    (r"/point/conv/kernel$", "/weight_orepa_1x1"),
    (r"/point_kxk/sum/deviation/kernel$", "/weight_orepa_1x1_kxk_idconv1"),
    (r"/point_kxk/conv/kernel$", "/weight_orepa_1x1_kxk_conv2"),
    (r"/separable/conv/kernel$", "/weight_orepa_gconv_dw"),
    (r"/separable/conv_1/kernel$", "/weight_orepa_gconv_pw"),
    (r"/point_point/conv/kernel$", "/weight_or1x1_l2i_conv1"),
    (r"/point_point/conv_1/kernel$", "/weight_or1x1_l2i_conv2"),
)
# In which row of one tensor the published code has each branch's gains.
GAIN_ROWS = {
    "origin": 0,
    "average": 1,
    "prior": 2,
    "point_kxk": 3,
    "point": 4,
    "separable": 5,
    "point_point": 1,
}


@dataclasses.dataclass(frozen=True)
class OREPANaming(Naming):
    """The names of OREPA's repository, which has some tensors in other forms.

    - The gains of all branches of a block are rows of one tensor.
    - The grouped 1×1 of the separable branch has its filters interleaved.
    - The deep stem cross-correlates its kernels instead of composing them, so
      that all but the first stand upside down.
    """

    def names_of(self, variable, tensors):
        names = super().names_of(variable, tensors)
        if tuple(variable.shape[:2]) == (1, 1):
            return [
                name.replace("orepa_origin", "or1x1_origin") for name in names
            ]
        return names

    def value_of(self, model, variable, tensors):
        (tensor,) = tensors
        name, _, path = variable.path.partition("/")
        if path.endswith("/gain"):
            branch = path.split("/")[-3]
            return tensor[GAIN_ROWS[branch]]
        if path.endswith("/separable/conv_1/kernel"):
            groups = model.get_layer(name).groups
            tensor = _in_order(tensor, groups)
        if re.search(r"/term/sum_\d/", path):
            tensor = tensor[:, :, ::-1, ::-1]
            if path.endswith("/prior/conv/kernel"):
                tensor = tensor * _signs_of_turned_priors(len(tensor))
        return super().value_of(model, variable, [tensor])


def _in_order(tensor, groups):
    """Filters group by group, which lay in turn: one of each group."""
    parts = tensor.reshape(-1, groups, *tensor.shape[1:])
    return parts.swapaxes(0, 1).reshape(tensor.shape)


def _signs_of_turned_priors(filters):
    """Upside down, cosines of an even frequency are the same, others negated.

    A cosine between two frequencies would be another function.
    """
    if filters % 2:
        raise ValueError(
            "Cannot turn the cosine filters of a stem of OREPA. Received: "
            f"{filters} filters. Expected an even number, as published. Use "
            "another `width`."
        )
    frequencies = np.arange(filters) % (filters // 2) + 1
    return (1 - 2 * (frequencies % 2)).reshape(-1, 1, 1, 1)


# Convolutions behind which a ReLU stands are in a container there.
ACNET = Naming(
    "ACNet's repository",
    _rules(
        "conv1",
        (r"\.conv1/branches/", r".conv1.acb/branches/"),
        *ACB_BRANCHES,
    ),
)
ACB = Naming(
    "DBB's repository, with ACB", _rules("stage0.conv1", *ACB_BRANCHES)
)
DBB = Naming("DBB's repository", _rules("stage0.conv1", *DBB_BRANCHES))
OREPA = OREPANaming(
    "OREPA's repository", _rules("stage0.conv1", *OREPA_BRANCHES)
)

NAMINGS = (TORCHVISION, ACNET, ACB, DBB, OREPA)
