"""Networks of re-parameterizable blocks, and weights of the published ones."""

from keras_rep.models.checkpoint import load_torch_checkpoint
from keras_rep.models.mobile_one import MobileOne
from keras_rep.models.repvgg import RepVGG, RepVGGPlus, drop_auxiliary_heads

__all__ = [
    "MobileOne",
    "RepVGG",
    "RepVGGPlus",
    "drop_auxiliary_heads",
    "load_torch_checkpoint",
]
