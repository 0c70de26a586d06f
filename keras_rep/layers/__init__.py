"""Re-parameterizable layers."""

from keras_rep.layers.base import RepLayer, TermLayer
from keras_rep.layers.rep_conv import RepConv

__all__ = ["RepConv", "RepLayer", "TermLayer"]
