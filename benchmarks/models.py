"""The table of the networks: sizes before and after deploying, as published.

    make models NAMES="RepVGG-A0 MobileOne-S0"

Multiply-adds are those of one image of 224×224; for VGG, which is that for
CIFAR, and CRNet of 32×32. A number in bold was published
like that; where ours differs in its digits, the published one is behind a
slash.
"""

import functools
import sys

import keras
import numpy as np

import keras_rep
from keras_rep import models
from keras_rep.layers import (
    ACBConv,
    DBBConv,
    OREPAConv,
    OREPAStemConv,
    OREPAVGGConv,
    QARepConv,
    RMInvertedResidual,
)

# Millions of parameters in training form and deployed, and thousands of
# millions of multiply-adds likewise, as published; `None` where they are not.
REPVGG = {
    "A0": (9.109, 8.309, 1.513, 1.361),
    "A1": (14.092, 12.790, 2.626, 2.364),
    "A2": (28.211, 25.500, 5.685, 5.117),
    "B0": (15.818, 14.339, 3.397, 3.058),
    "B1": (57.415, 51.829, 13.128, 11.815),
    "B1g2": (45.782, 41.360, 9.788, 8.810),
    "B1g4": (39.966, 36.125, 8.119, 7.307),
    "B2": (89.022, 80.315, 20.418, 18.377),
    "B2g2": (70.846, 63.957, 15.200, 13.680),
    "B2g4": (61.758, 55.778, 12.591, 11.332),
    "B3": (123.085, 110.961, 29.121, 26.209),
    "B3g2": (96.912, 87.405, 21.606, 19.446),
    "B3g4": (83.825, 75.627, 17.849, 16.064),
    "D2se": (133.335, 120.388, 36.477, 32.830),
}
MOBILE_ONE = {
    "S0": (5.293, 2.079, None, 0.2751),
    "S1": (4.825, 4.765, None, 0.8251),
    "S2": (7.885, 7.808, None, 1.2984),
    "S3": (10.171, 10.078, None, 1.8958),
    "S4": (14.951, 14.838, None, 2.9793),
}
OREPA = {"conv": OREPAConv, "stem": OREPAStemConv}
ACB, DBB = {"conv": ACBConv}, {"conv": DBBConv}
QA, ONLINE = {"conv": QARepConv}, {"conv": OREPAVGGConv}
# The same figures as far as they are known, and the network.
OTHERS = {
    "QARepVGG-A0": ((9.103,), "RepVGG", ("A0",), QA),
    "QARepVGG-B0": ((15.809,), "RepVGG", ("B0",), QA),
    "OREPA-RepVGG-A0": ((24.75,), "RepVGG", ("A0",), ONLINE),
    "OREPA-RepVGG-A1": ((39.71,), "RepVGG", ("A1",), ONLINE),
    "OREPA-RepVGG-A2": ((), "RepVGG", ("A2",), ONLINE),
    "RepVGGplus-L2pse": ((146.063, 127.152), "RepVGGPlus", ("L2pse",), {}),
    "ResNet-18": ((11.69, 11.69), "ResNet", ("18",), {}),
    "ResNet-50": ((25.56, 25.56), "ResNet", ("50",), {}),
    "SE-ResNet-50": ((28.09,), "ResNet", ("50",), {"se_ratio": 1 / 16}),
    "ResNeXt-50": ((25.03,), "ResNet", ("resnext50_32x4d",), {}),
    "ACB-ResNet-18": ((None, 11.69), "ResNet", ("18",), ACB),
    "ACB-ResNet-50": ((None, 25.56), "ResNet", ("50",), ACB),
    "DBB-ResNet-18": ((26.29, 11.69), "ResNet", ("18",), DBB),
    "DBB-ResNet-34": ((49.90, 21.80), "ResNet", ("34",), DBB),
    "DBB-ResNet-50": ((40.68, 25.56), "ResNet", ("50",), DBB),
    "OREPA-ResNet-18": ((37.76, 11.69), "ResNet", ("18",), OREPA),
    "OREPA-ResNet-34": ((71.72,), "ResNet", ("34",), OREPA),
    "OREPA-ResNet-50": (
        *((68.58, 25.56), "ResNet", ("50",)),
        {**OREPA, "pointwise": OREPAConv},
    ),
    "RM-ResNet-18": ((11.69,), "RMResNet", ("18",), {}),
    "RM-ResNet-50": ((25.56,), "RMResNet", ("50",), {}),
    "RMRep-21": ((14.49, 14.64, 2.1, 2.1), "RMRep", ("21",), {}),
    "RMRep-37": ((None, 27.18, 3.9, 4.0), "RMRep", ("37",), {}),
    "RMRep-69": ((44.13, 52.25, 6.5, 7.7), "RMRep", ("69",), {}),
    "RMRep-133": ((None, 102.40, 10.6, 15.1), "RMRep", ("133",), {}),
    "RMNeXt-41 5×16": ((), "RMNeXt", ("41_5x16",), {}),
    "RMNeXt-50 5×32": ((), "RMNeXt", ("50_5x32",), {}),
    "RMNeXt-50 6×32": ((), "RMNeXt", ("50_6x32",), {}),
    "DiracNet-18": ((11.52,), "DiracNet", ("18",), {}),
    "DiracNet-34": ((21.64,), "DiracNet", ("34",), {}),
    "VGG-16": ((), "VGG", ("16",), {}),
    "ACB-VGG-16": ((), "VGG", ("16",), ACB),
    "DBB-VGG-16": ((), "VGG", ("16",), DBB),
    "MobileNetV1": ((4.232,), "MobileNetV1", (), {}),
    "ACB-MobileNetV1": ((), "MobileNetV1", (), ACB),
    "DBB-MobileNetV1": ((), "MobileNetV1", (), DBB),
    "MobileNetV2": ((3.505,), "MobileNetV2", (), {}),
    "RM-MobileNetV2": (
        *((3.505,), "MobileNetV2", ()),
        {"residual": RMInvertedResidual},
    ),
    "MobileNetV3-large": ((5.483,), "MobileNetV3", ("large",), {}),
    "MobileNetV3-small": ((2.543,), "MobileNetV3", ("small",), {}),
    "ShuffleNetV1 g=3": ((1.9,), "ShuffleNetV1", (3,), {}),
    "ShuffleNetV1 g=8": ((2.4,), "ShuffleNetV1", (8,), {}),
    "ShuffleNetV2": ((2.279,), "ShuffleNetV2", (), {}),
    "CRNet 1/4": ((2.102838, None, 0.005122), "CRNet", (4,), {}),
    "CRNet 1/64": ((0.136278, None, 0.003156), "CRNet", (64,), {}),
}


def rows():
    """Yields the name, the network and the published figures of each row."""
    for variant, published in REPVGG.items():
        make = functools.partial(models.RepVGG, variant)
        yield f"RepVGG-{variant}", make, published
    for variant, published in MOBILE_ONE.items():
        make = functools.partial(models.MobileOne, variant)
        yield f"MobileOne-{variant}", make, published
    for name, (published, family, arguments, options) in OTHERS.items():
        make = functools.partial(getattr(models, family), *arguments, **options)
        yield name, make, (*published, None, None, None, None)[:4]


def inference_form(model):
    """The network without heads that only training has."""
    if isinstance(model.output, dict):
        return models.drop_auxiliary_heads(model)
    return model


def measure(model):
    """Millions of parameters and of multiply-adds, before and after."""
    training, model = model, inference_form(model)
    plain = keras_rep.deploy(model, verify=False)
    parameters = [
        sum(int(np.prod(v.shape)) for v in each.trainable_variables) / 1e6
        for each in (training, plain)
    ]
    report = keras_rep.explain(model)
    return (*parameters, *(count / 1e9 for count in report.multiply_adds))


def show(ours, published):
    """A number, with the published one where they differ."""
    if published is None:
        return f"{ours:.3f}"
    digits = len(str(published).partition(".")[2])
    if round(ours, digits) == published:
        return f"**{ours:.{digits}f}**"
    return f"{ours:.{digits}f} / {published}"


def main(names):
    """Prints the rows with the given names; all without any."""
    print(
        "| network | parameters, M | deployed | multiply-adds, G | deployed |"
    )
    print("|---|---|---|---|---|")
    for name, make, published in rows():
        if not names or name in names:
            pairs = zip(measure(make()), published, strict=True)
            cells = " | ".join(show(*pair) for pair in pairs)
            print(f"| {name} | {cells} |", flush=True)
            keras.backend.clear_session()


if __name__ == "__main__":
    main(sys.argv[1:])
