"""Re-parameterizable layers."""

from keras_rep.layers.acb_conv import ACBConv
from keras_rep.layers.base import RepLayer
from keras_rep.layers.dbb_conv import DBBConv
from keras_rep.layers.dirac_conv import DiracConv
from keras_rep.layers.mobile_one_conv import MobileOneConv
from keras_rep.layers.orepa_conv import OREPAConv
from keras_rep.layers.orepa_stem_conv import OREPAStemConv
from keras_rep.layers.orepa_vgg_conv import OREPAVGGConv
from keras_rep.layers.qarep_conv import QARepConv
from keras_rep.layers.rep_conv import RepConv
from keras_rep.layers.rm_block import RMBlock
from keras_rep.layers.rm_bottleneck import RMBottleneck
from keras_rep.layers.rm_inverted_residual import RMInvertedResidual
from keras_rep.layers.term_layer import TermLayer

__all__ = [
    "ACBConv",
    "DBBConv",
    "DiracConv",
    "MobileOneConv",
    "OREPAConv",
    "OREPAStemConv",
    "OREPAVGGConv",
    "QARepConv",
    "RMBlock",
    "RMBottleneck",
    "RMInvertedResidual",
    "RepConv",
    "RepLayer",
    "TermLayer",
]
