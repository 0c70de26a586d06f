"""ResNets, VGG, DiracNets and RMNets: sizes, a step of training, deploying."""

import math
from functools import partial

import keras
import numpy as np
import pytest
from arrays import array, randomize, run
from test_layers import assert_close

import keras_rep
from keras_rep.layers import (
    ACBConv,
    DBBConv,
    OREPAConv,
    OREPAStemConv,
    RepConv,
    RepLayer,
)
from keras_rep.models.diracnet import DiracNet
from keras_rep.models.resnet import ResNet
from keras_rep.models.rmnet import RMRep, RMResNet
from keras_rep.models.vgg import VGG

# Rounding of tens of layers, which grows with the root of their number.
TOLERANCE = 5e-6
ONLINE = {"conv": OREPAConv, "stem": OREPAStemConv}


def small(make, variant, width=1 / 8, shape=(40, 24, 3), **options):
    return make(variant, width=width, input_shape=shape, classes=5, **options)


SMALL = {
    "resnet": partial(small, ResNet, "18"),
    "resnet_acb": partial(small, ResNet, "18", conv=ACBConv),
    "resnet_dbb": partial(small, ResNet, "18", conv=DBBConv),
    "resnet_rep": partial(small, ResNet, "18", conv=RepConv, padding="same"),
    "resnet_orepa": partial(small, ResNet, "18", **ONLINE),
    "resnet_bottleneck": partial(small, ResNet, "50"),
    "resnet_bottleneck_orepa": partial(
        small, ResNet, "50", pointwise=OREPAConv, **ONLINE
    ),
    "resnext_dbb": partial(
        small, ResNet, "resnext50_32x4d", 1 / 4, conv=DBBConv
    ),
    "se_resnet": partial(small, ResNet, "18", conv=ACBConv, se_ratio=1 / 4),
    "rm_resnet": partial(small, RMResNet, "18"),
    "rm_resnet_bottleneck": partial(small, RMResNet, "50"),
    "rm_resnext": partial(small, RMResNet, "resnext50_32x4d", 1 / 2),
    "rmrep": partial(small, RMRep, "21"),
    "vgg_acb": partial(small, VGG, "11", shape=(32, 48, 3), conv=ACBConv),
    "vgg_dbb": partial(small, VGG, "16", shape=(32, 48, 3), conv=DBBConv),
    "diracnet": partial(small, DiracNet, "18", shape=(64, 48, 3)),
    "diracnet_small": partial(small, DiracNet, "28-5"),
}
QUICK = ("resnet_dbb", "se_resnet", "rm_resnet")
# Training takes longest to compile, and is tested block by block as well.
QUICK_TO_TRAIN = ("resnet", "rm_resnet")


def each(quick):
    slow = [pytest.mark.exhaustive]
    return [
        pytest.param(name, marks=[] if name in quick else slow)
        for name in SMALL
    ]


def trainable(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def kinds(model):
    return {type(layer) for layer in model.layers}


def full(make, variant, **options):
    return lambda: make(variant, input_shape=(64, 64, 3), **options)


# Trainable parameters, in training form and deployed. Published, or in the
# fact sheets: plain 11.69, 21.80, 25.56, 44.55 and 25.03 million, SE 28.09;
# DBB 26.29, 49.90 and 40.68; OREPA 37.76, 71.72, 68.58 and 149.4; rmrep 14.49
# and 14.64, 27.18, 44.13 and 52.25, 102.40, as RepVGG 16.23, 30.18, 58.08 and
# 113.88; DiracNet 11.52, 21.64, 9.12, 36.45 and 1.85. A deployed convolution
# has one bias in place of gain and offset. VGG, ACNet and the deployed forms
# of RMResNet have no published number.
R18, R34, R50, R101 = 11_684_712, 21_789_160, 25_530_472, 44_496_488
COUNTS = {
    "resnet 18": (full(ResNet, "18"), 11_689_512, R18),
    "resnet 34": (full(ResNet, "34"), 21_797_672, R34),
    "resnet 50": (full(ResNet, "50"), 25_557_032, R50),
    "resnet 101": (full(ResNet, "101"), 44_549_160, R101),
    "resnext": (full(ResNet, "resnext50_32x4d"), 25_028_904, 24_994_792),
    "se 50": (full(ResNet, "50", se_ratio=1 / 16), 28_088_024, 28_061_464),
    "acb 18": (full(ResNet, "18", conv=ACBConv), 19_028_520, R18),
    "dbb 18": (full(ResNet, "18", conv=DBBConv), 26_288_296, R18),
    "dbb 34": (full(ResNet, "34", conv=DBBConv), 49_901_224, R34),
    "dbb 50": (full(ResNet, "50", conv=DBBConv), 40_684_456, R50),
    "orepa 18": (full(ResNet, "18", **ONLINE), 37_756_041, R18),
    "orepa 34": (full(ResNet, "34", **ONLINE), 71_722_121, R34),
    "orepa 50": (
        full(ResNet, "50", pointwise=OREPAConv, **ONLINE),
        68_579_977,
        R50,
    ),
    "orepa 18 x2": (
        full(ResNet, "18", width=2, **ONLINE),
        149_410_889,
        45_683_432,
    ),
    "rm 18": (full(RMResNet, "18"), 11_689_512, 20_176_296),
    "rmrep 21": (full(RMRep, "21"), 14_486_056, 14_638_504),
    "rmrep 37": (full(RMRep, "37"), 26_691_816, 27_176_104),
    "rmrep 69": (full(RMRep, "69"), 44_128_616, 52_251_304),
    "rmrep 133": (full(RMRep, "133"), 72_027_496, 102_401_704),
    "repvgg 21": (full(RMRep, "21", reserve_ratio=0), 16_229_736, 14_638_504),
    "repvgg 133": (
        full(RMRep, "133", reserve_ratio=0),
        113_875_816,
        102_401_704,
    ),
    "vgg": (lambda: VGG("16"), 14_986_698, 14_982_474),
    "vgg acb": (lambda: VGG("16", conv=ACBConv), 24_810_570, 14_982_474),
    "vgg dbb": (lambda: VGG("16", conv=DBBConv), 34_555_673, 14_982_474),
    "diracnet 18": (full(DiracNet, "18"), 11_523_368, 11_511_784),
    "diracnet 34": (full(DiracNet, "34"), 21_638_952, 21_616_232),
    "diracnet 28-5": (lambda: DiracNet("28-5"), 9_124_250, 9_110_730),
    "diracnet 28-10": (lambda: DiracNet("28-10"), 36_450_090, 36_423_050),
    "diracnet 34-2": (lambda: DiracNet("34-2"), 1_854_378, 1_847_626),
}
QUICK_TO_COUNT = ("resnet 18", "dbb 18")


@pytest.mark.filterwarnings("ignore:Model '.*' has .* whose batch norm")
@pytest.mark.parametrize(
    ("make", "training", "deployed"),
    [
        pytest.param(
            *row,
            id=name,
            marks=[] if name in QUICK_TO_COUNT else [pytest.mark.exhaustive],
        )
        for name, row in COUNTS.items()
    ],
)
def test_numbers_of_parameters(make, training, deployed):
    model = make()

    plain = keras_rep.deploy(model, verify=False)

    assert (trainable(model), trainable(plain)) == (training, deployed)


@pytest.mark.parametrize("name", each(QUICK_TO_TRAIN))
def test_a_step_of_training(name):
    model = SMALL[name]()
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, *model.input_shape[1:])).astype("float32")
    before = [array(v) for v in model.variables]

    loss = model.train_on_batch(x, np.arange(4))

    assert np.isfinite(loss)
    moved = {
        v.path: np.any(array(v) != old)
        for v, old in zip(model.variables, before, strict=True)
    }
    statistics = {path for path in moved if "/moving_" in path}
    assert statistics
    assert {path for path in statistics if not moved[path]} == set()
    # The gradient gets from one end to the other.
    assert moved[model.trainable_variables[0].path]


@pytest.mark.parametrize("name", each(QUICK))
def test_deploying(name):
    options = {"shape": (None, None, 3), "classifier_activation": None}
    model = SMALL[name](**options)
    randomize(model)

    plain = keras_rep.deploy(model, verify=False)

    assert not any(isinstance(layer, RepLayer) for layer in plain.layers)
    assert keras.layers.BatchNormalization not in kinds(plain)
    rng = np.random.default_rng(0)
    for size in ((64, 48), (45, 67)):
        x = rng.normal(size=(2, *size, 3)).astype("float32")
        assert_close(run(plain, x), run(model, x), TOLERANCE)


@pytest.mark.filterwarnings("ignore:Model '.*' has .* whose batch norm")
def test_without_residuals_there_is_nothing_to_add():
    plain = keras_rep.deploy(SMALL["rm_resnet"](), verify=False)

    assert not kinds(plain) & {keras.layers.Add, keras.layers.PReLU}
    blocks = [
        layer for layer in plain.layers if layer.name.startswith("stage1_0")
    ]
    assert [type(layer) for layer in blocks] == [keras.layers.Conv2D] * 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResNet("19"), "Unknown variant of ResNet.*'101'"),
        (lambda: ResNet("18", padding="valid"), "padding.*'valid'.*'centered'"),
        (lambda: VGG("17"), "Unknown variant of VGG"),
        (lambda: VGG("16", padding="valid"), "padding.*'valid'"),
        (lambda: DiracNet("18", padding="valid"), "padding.*'valid'"),
        (lambda: RMResNet("18", padding="valid"), "padding.*'valid'"),
        (lambda: RMRep("22"), "Unknown variant of RMRep"),
        (lambda: small(ResNet, "18", se_ratio=1 / 16), "no hidden unit"),
        (lambda: small(ResNet, "resnext50_32x4d"), "too narrow.*32 groups"),
    ],
)
def test_errors_name_the_mistake(call, message):
    with pytest.raises(ValueError, match=message):
        call()
