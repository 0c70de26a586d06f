"""ResNets, VGG, DiracNets and RMNets: sizes, and what is refused."""

import pytest
from model_cases import NETWORKS
from model_checks import kinds, trainable

import keras_rep
from keras_rep.layers import ACBConv, DBBConv, OREPAConv, OREPAStemConv
from keras_rep.models.diracnet import DiracNet
from keras_rep.models.resnet import ResNet
from keras_rep.models.rmnet import RMRep, RMResNet
from keras_rep.models.vgg import VGG

ONLINE = {"conv": OREPAConv, "stem": OREPAStemConv}


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


@pytest.mark.filterwarnings("ignore:Model '.*' has .* whose batch norm")
def test_without_residuals_there_is_nothing_to_add():
    plain = keras_rep.deploy(NETWORKS["rm_resnet"](), verify=False)

    assert not kinds(plain) & {"Add", "PReLU"}
    blocks = [x for x in plain.layers if x.name.startswith("stage1_0")]
    assert [type(x).__name__ for x in blocks] == ["Conv2D"] * 2


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
        (lambda: ResNet("18", width=1 / 8, se_ratio=1 / 16), "no hidden unit"),
        (
            lambda: ResNet("resnext50_32x4d", width=1 / 8),
            "too narrow.*32 groups",
        ),
    ],
)
def test_errors_name_the_mistake(call, message):
    with pytest.raises(ValueError, match=message):
        call()
