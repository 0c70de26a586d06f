"""Networks of re-parameterizable blocks, and weights of the published ones."""

from keras_rep.models.checkpoint import load_torch_checkpoint
from keras_rep.models.crnet import CRNet
from keras_rep.models.diracnet import DiracNet
from keras_rep.models.mobile_one import MobileOne
from keras_rep.models.mobilenet_v1 import MobileNetV1
from keras_rep.models.mobilenet_v2 import MobileNetV2
from keras_rep.models.mobilenet_v3 import MobileNetV3
from keras_rep.models.repvgg import RepVGG, RepVGGPlus, drop_auxiliary_heads
from keras_rep.models.resnet import ResNet
from keras_rep.models.rmnet import RMNeXt, RMRep, RMResNet
from keras_rep.models.shufflenet import ShuffleNetV1, ShuffleNetV2
from keras_rep.models.vgg import VGG

__all__ = [
    "VGG",
    "CRNet",
    "DiracNet",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "MobileOne",
    "RMNeXt",
    "RMRep",
    "RMResNet",
    "RepVGG",
    "RepVGGPlus",
    "ResNet",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "drop_auxiliary_heads",
    "load_torch_checkpoint",
]
