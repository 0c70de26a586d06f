"""A small network of every kind, for the tests that all of them must pass."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from keras_rep import models
from keras_rep.layers import (
    ACBConv,
    DBBConv,
    MobileOneConv,
    OREPAConv,
    OREPAStemConv,
    OREPAVGGConv,
    QARepConv,
    RepConv,
    RMInvertedResidual,
)
from keras_rep.models import mobile_one, mobilenet_v3, repvgg, shufflenet
from keras_rep.models.crnet import PointedConv

CLASSES = 5
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Network:
    """A function that makes a small network; it takes more arguments.

    Attributes:
        make: Function of `keras_rep.models`.
        arguments: Its positional arguments.
        options: Its keyword arguments.
        sizes: An even and an odd size of its images.
        channels: Number of channels of those.
        loss: What it is trained with.
    """

    make: Callable
    arguments: tuple
    options: dict[str, Any]
    sizes: tuple = ((40, 32), (33, 47))
    channels: int = 3
    loss: Any = LOSS

    def __call__(self, size=None, **more):
        shape = (*(size or self.sizes[0]), self.channels)
        options = {"input_shape": shape, **self.options, **more}
        return self.make(*self.arguments, **options)


def classifier(make, *arguments, **options):
    logits = {"classes": CLASSES, "classifier_activation": None}
    return Network(make, arguments, {**logits, **options})


def autoencoder(**options):
    return Network(
        models.CRNet,
        (8,),
        {"channels": 4, **options},
        sizes=((12, 8), (9, 16)),
        channels=2,
        loss="mse",
    )


def narrow(make, variant, width=1 / 8, **options):
    return classifier(make, variant, width=width, **options)


def without_auxiliary_heads(variant, **options):
    model = models.RepVGGPlus(variant, **options)
    return models.drop_auxiliary_heads(model)


REPVGG = repvgg.Configuration((1, 2, 2, 1), (0.125,) * 4, groups=2)
REPVGG_SE = dataclasses.replace(REPVGG, widths=(0.5,) * 4, has_gate=True)
MOBILE_ONE = mobile_one.Configuration(
    (0.25,) * 4, 2, gated=(0, 1, 0, 1), pairs=(1, 2, 1, 1)
)
V1 = {"width": 0.5, "stages": ((16, 1, 1), (16, 1, 2))}
V2 = {"width": 0.5, "stages": ((1, 8, 1, 1), (2, 8, 2, 2))}
V3 = mobilenet_v3.Configuration(
    (
        mobilenet_v3.Stage(3, 8, (8,), 2, has_gate=True, is_hard=False),
        mobilenet_v3.Stage(5, 16, (24, 40), 2),
    ),
    last=48,
    head=64,
)
SHUFFLE = shufflenet.Configuration((16, 24), last=32, units=(2, 2))
ONLINE = {"conv": OREPAConv, "stem": OREPAStemConv}
SAME = {"padding": "same"}

NETWORKS = {
    "repvgg": classifier(models.RepVGG, REPVGG),
    "repvgg_same": classifier(models.RepVGG, REPVGG, **SAME),
    "repvgg_se": classifier(models.RepVGG, REPVGG_SE),
    "repvgg_qa": classifier(models.RepVGG, REPVGG, conv=QARepConv),
    "repvgg_orepa": classifier(models.RepVGG, REPVGG, conv=OREPAVGGConv),
    "repvgg_plus": classifier(without_auxiliary_heads, REPVGG_SE),
    "mobile_one": classifier(models.MobileOne, MOBILE_ONE),
    "resnet": narrow(models.ResNet, "18"),
    "resnet_acb": narrow(models.ResNet, "18", conv=ACBConv),
    "resnet_dbb": narrow(models.ResNet, "18", conv=DBBConv),
    "resnet_rep": narrow(models.ResNet, "18", conv=RepConv, **SAME),
    "resnet_orepa": narrow(models.ResNet, "18", **ONLINE),
    "resnet_se": narrow(models.ResNet, "18", conv=ACBConv, se_ratio=1 / 4),
    "resnet50": narrow(models.ResNet, "50"),
    "resnet50_orepa": narrow(
        models.ResNet, "50", pointwise=OREPAConv, **ONLINE
    ),
    "resnext_dbb": narrow(
        models.ResNet, "resnext50_32x4d", 1 / 4, conv=DBBConv
    ),
    "rm_resnet": narrow(models.RMResNet, "18"),
    "rm_resnet50": narrow(models.RMResNet, "50"),
    "rm_resnext": narrow(models.RMResNet, "resnext50_32x4d", 1 / 2),
    "rmnext": narrow(models.RMNeXt, "41_5x16"),
    "rmrep": narrow(models.RMRep, "21"),
    "diracnet": narrow(models.DiracNet, "18"),
    "diracnet_cifar": narrow(models.DiracNet, "28-5"),
    "vgg_acb": narrow(models.VGG, "11", conv=ACBConv),
    "vgg_dbb": narrow(models.VGG, "16", conv=DBBConv),
    "v1": classifier(models.MobileNetV1, **V1),
    "v1_dbb": classifier(models.MobileNetV1, **V1, conv=DBBConv, **SAME),
    "v2": classifier(models.MobileNetV2, **V2),
    "v2_rep": classifier(
        models.MobileNetV2, **V2, conv=RepConv, pointwise=MobileOneConv
    ),
    "v2_rm": classifier(models.MobileNetV2, **V2, residual=RMInvertedResidual),
    "v3": classifier(models.MobileNetV3, V3),
    "v3_relu6": classifier(
        models.MobileNetV3, V3, conv=MobileOneConv, activation="relu6"
    ),
    "shuffle_v1": classifier(models.ShuffleNetV1, 4, 0.25, units=(2, 1)),
    "shuffle_v1_rep": classifier(
        *(models.ShuffleNetV1, 3, 0.1),
        units=(2,),
        conv=DBBConv,
        pointwise=RepConv,
        **SAME,
    ),
    "shuffle_v2": classifier(models.ShuffleNetV2, SHUFFLE),
    "shuffle_v2_rep": classifier(
        models.ShuffleNetV2, SHUFFLE, conv=MobileOneConv
    ),
    "crnet": autoencoder(),
    "crnet_dbb": autoencoder(conv=DBBConv),
    "crnet_dbb_pointed": autoencoder(conv=DBBConv, strip=PointedConv),
}
