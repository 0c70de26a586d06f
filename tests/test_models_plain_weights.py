"""Weights of nets without residuals in PyTorch: the same outputs."""

import functools

import keras
import pytest
from test_models_resnet_weights import CLASSES, check, small
from torch_plain_nets import VGG16, VGG_BLOCKS, DiracNet, RMNeXt, RMRep
from torch_resnets import randomize

from keras_rep import models
from keras_rep.layers import ACBConv

rmrep = functools.partial(small, models.RMRep)
NETS = {
    "rmrep 21": (
        lambda: randomize(RMRep(2, 0.25, 8, CLASSES)),
        lambda: rmrep("21"),
    ),
    "rmrep 69": (
        lambda: randomize(RMRep(8, 0.5, 8, CLASSES)),
        lambda: rmrep("69"),
    ),
    "repvgg 37": (
        lambda: randomize(RMRep(4, 0, 8, CLASSES)),
        lambda: rmrep("37", reserve_ratio=0),
    ),
    "rmnext 41": (
        lambda: randomize(RMNeXt((2, 3, 5, 3), 5, 16, 8, CLASSES)),
        lambda: small(models.RMNeXt, "41_5x16"),
    ),
    "rmnext 50": (
        lambda: randomize(RMNeXt((3, 4, 6, 3), 6, 10, 16, CLASSES)),
        lambda: small(models.RMNeXt, "50_6x32", 1 / 4),
    ),
    "vgg": (
        lambda: randomize(VGG16(VGG_BLOCKS["plain"], 8, CLASSES)),
        lambda: small(models.VGG, "16"),
    ),
    "vgg acb": (
        lambda: randomize(VGG16(VGG_BLOCKS["acb"], 8, CLASSES)),
        lambda: small(models.VGG, "16", conv=ACBConv),
    ),
    "diracnet": (
        lambda: DiracNet((4, 4, 4, 4), 8, CLASSES),
        lambda: small(models.DiracNet, "18"),
    ),
}
# Names are the same on every backend, and PyTorch has nothing to compile.
marks = []
if keras.backend.backend() != "torch":
    marks = [pytest.mark.exhaustive]


@pytest.mark.parametrize(
    ("make_torch", "make"),
    [pytest.param(*case, id=name, marks=marks) for name, case in NETS.items()],
)
def test_weights_by_the_names_of_repositories(make_torch, make, tmp_path):
    published = make_torch()

    check(published, make(), published.state_dict(), tmp_path / "weights.pth")
