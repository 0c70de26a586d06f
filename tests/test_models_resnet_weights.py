"""Weights of ResNets in PyTorch: the same outputs, before and after deploy."""

import functools

import keras
import numpy as np
import pytest
import timm_models
from arrays import run
from test_layers import assert_close
from torch_resnets import (
    ACB,
    DBB,
    OREPA,
    ACBReLU,
    ACNetResNet,
    ConvBN,
    OREPAPoint,
    OREPAStem,
    ResNet,
    randomize,
    torch,
    torchvision_names,
)

import keras_rep
from keras_rep import models
from keras_rep.layers import ACBConv, DBBConv, OREPAConv, OREPAStemConv
from keras_rep.models import resnet, rmnet

CLASSES = 5
SIZES = ((64, 48), (45, 37))
# Rounding of tens of layers, in float32 against float64; measured: 3e-6.
TOLERANCE = 1e-5

# Kinds of the stem, of the first and the last 3×3 of a block, of its 1×1 and
# of its shortcut.
PLAIN = (ConvBN,) * 5
OREPA_18 = (OREPAStem, OREPA, OREPA, OREPAPoint, ConvBN)
OREPA_50 = (OREPAStem, OREPA, OREPA, OREPAPoint, OREPAPoint)
BASIC = functools.partial(ResNet, (2, 2, 2, 2), 8, CLASSES)
DEEP = functools.partial(ResNet, (3, 4, 6, 3), 8, CLASSES, groups=1)
NEXT = functools.partial(
    ResNet, (3, 4, 6, 3), 16, CLASSES, groups=32, share=1 / 16
)


def small(make, variant, width=1 / 8, **options):
    return make(
        variant,
        width=width,
        input_shape=(None, None, 3),
        classes=CLASSES,
        classifier_activation=None,
        **options,
    )


R18 = functools.partial(small, resnet.ResNet, "18")
R50 = functools.partial(small, resnet.ResNet, "50")
R50X = functools.partial(small, resnet.ResNet, "resnext50_32x4d", 1 / 4)
ONLINE = {"conv": OREPAConv, "stem": OREPAStemConv}
# By the names of torchvision.
TORCHVISION = {
    "18": (BASIC, R18),
    "18 RM": (BASIC, functools.partial(small, rmnet.RMResNet, "18")),
    "50": (DEEP, R50),
    "50 RM": (DEEP, functools.partial(small, rmnet.RMResNet, "50")),
    "resnext50": (NEXT, R50X),
}
# By the names of the repositories of ACNet, DBB and OREPA.
OTHERS = {
    "acnet": (
        lambda: ACNetResNet(
            (2, 2, 2, 2), 8, CLASSES, (ConvBN, ACBReLU, ACB, ConvBN, ConvBN)
        ),
        lambda: R18(conv=ACBConv),
    ),
    "acb": (
        lambda: BASIC((ConvBN, ACB, ACB, ConvBN, ConvBN)),
        lambda: R18(conv=ACBConv),
    ),
    "dbb": (
        lambda: BASIC((ConvBN, DBB, DBB, ConvBN, ConvBN)),
        lambda: R18(conv=DBBConv),
    ),
    "dbb 50": (
        lambda: DEEP((ConvBN, DBB, DBB, ConvBN, ConvBN)),
        lambda: R50(conv=DBBConv),
    ),
    "orepa": (lambda: BASIC(OREPA_18), lambda: R18(**ONLINE)),
    "orepa 50": (
        lambda: DEEP(OREPA_50),
        lambda: R50(pointwise=OREPAConv, **ONLINE),
    ),
    "orepa resnext50": (
        lambda: NEXT(OREPA_50),
        lambda: R50X(pointwise=OREPAConv, **ONLINE),
    ),
}
# Names are the same on every backend, and PyTorch has nothing to compile.
QUICK = ("50",)
if keras.backend.backend() == "torch":
    QUICK += ("18 RM", "dbb", "orepa")


def marked(cases):
    return [
        pytest.param(
            *case,
            id=name,
            marks=[] if name in QUICK else [pytest.mark.exhaustive],
        )
        for name, case in cases.items()
    ]


def check(published, model, state, path):
    """Loads tensors, and compares outputs at two sizes."""
    torch.save({"state_dict": state}, path)
    models.load_torch_checkpoint(model, path)
    plain = keras_rep.deploy(model, verify=False)
    published.double()
    rng = np.random.default_rng(0)
    for size in SIZES:
        x = rng.normal(size=(2, *size, 3)).astype("float32")
        with torch.no_grad():
            images = torch.from_numpy(x.astype("float64")).permute(0, 3, 1, 2)
            expected = published(images).numpy()
        assert_close(run(model, x), expected, TOLERANCE)
        assert_close(run(plain, x), expected, TOLERANCE)


@pytest.mark.parametrize(("make_torch", "make"), marked(TORCHVISION))
def test_weights_by_the_names_of_torchvision(make_torch, make, tmp_path):
    published = randomize(make_torch(PLAIN))
    state = torchvision_names(published.state_dict())

    check(published, make(), state, tmp_path / "weights.pth")


@pytest.mark.parametrize(("make_torch", "make"), marked(OTHERS))
def test_weights_by_the_names_of_repositories(make_torch, make, tmp_path):
    published = randomize(make_torch())

    check(published, make(), published.state_dict(), tmp_path / "weights.pth")


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "variant", "options"),
    [
        ("resnet18", "18", {}),
        ("resnet50", "50", {}),
        ("resnext50_32x4d", "resnext50_32x4d", {}),
        ("seresnet50", "50", {"se_ratio": 1 / 16}),
    ],
)
def test_weights_of_timm(name, variant, options, tmp_path):
    published = timm_models.create(name, num_classes=CLASSES)
    model = small(resnet.ResNet, variant, width=1, **options)
    state = published.state_dict()

    check(published, model, state, tmp_path / "weights.pth")
