"""Names of the tensors of RMNets, DiracNets and the VGG of ACNet."""

from keras_rep.models.naming import Naming
from keras_rep.models.naming_mobile import DenseNaming
from keras_rep.models.naming_resnet import ACB_BRANCHES, TORCHVISION

# Pairs of blocks in each stage of RMRep, and convolutions in each of VGG-16's.
# The tables of the networks themselves would be a circular import.
RMREP = (2, 4, 8, 16)
VGG_16 = (2, 2, 3, 3, 3)

REP_BRANCHES = (
    *(
        (rf"/branches/(?:computed/)?{branch}/{part}/", f".{name}{size}/")
        for branch, size in (("kxk", "33"), ("point", "11"))
        for part, name in (("conv", "conv"), ("norm", "bn"))
    ),
    (r"/branches/(?:computed/identity/norm|identity)/", ".bn00/"),
)


def _rmrep(pairs):
    """The names of RMNet's repository, which counts all blocks through."""

    def replace(found):
        # In front of each stage but the first, there is a block with strides.
        number = 2 + (int(found[1]) - 1) * (2 * pairs + 1)
        number += -1 if found[2] == "down" else int(found[2])
        return f"feature.{number}/"

    rules = (
        (r"^stem_(\d)/", r"feature.\1/"),
        (r"^stage(\d)_(down|\d+)/", replace),
        *REP_BRANCHES,
        (r"^classifier/", "fc/"),
    )
    return Naming("RMNet's repository", rules)


RMNEXT = Naming(
    "RMNet's repository",
    (
        (r"^stem_(\d)/branches/", r"layer0.\1/branches/"),
        *REP_BRANCHES,
        *TORCHVISION.rules,
    ),
)
DIRACNET = Naming(
    "DiracNets' repository",
    (
        (r"^stem_conv/kernel$", "conv"),
        (r"^stem_norm/", "bn/"),
        (r"^classifier/", "fc/"),
        (
            r"^stage(\d)_(\d+)/branches/",
            lambda found: f"group{int(found[1]) - 1}.block{found[2]}/",
        ),
        (r"/dirac/kernel$", ".conv"),
        # Not a normalization's, which is called so as well.
        (r"/dirac/(alpha|beta)$", r".\1"),
        (r"/norm/", ".bn/"),
    ),
)


def _vgg(found):
    """The place of a convolution among all thirteen."""
    stage, index = int(found[1]) - 1, int(found[2])
    return f"stem.conv{sum(VGG_16[:stage]) + index + 1}"


VGG = DenseNaming(
    "ACNet's VGG-16",
    (
        (
            r"^stage(\d)_(\d)(?=/branches/)",
            lambda found: f"{_vgg(found)}.acb",
        ),
        (r"^stage(\d)_(\d)_conv/", lambda found: f"{_vgg(found)}.conv/"),
        (r"^stage(\d)_(\d)_norm/", lambda found: f"{_vgg(found)}.bn/"),
        *ACB_BRANCHES,
        (r"^hidden/", "linear1/"),
        (r"^classifier/", "linear2/"),
    ),
)

NAMINGS = (*map(_rmrep, RMREP), RMNEXT, DIRACNET, VGG)
