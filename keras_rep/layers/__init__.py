"""Re-parameterizable layers."""

from keras_rep.layers.base import RepLayer as RepLayer
from keras_rep.layers.base import TermLayer as TermLayer
from keras_rep.layers.rep_conv import RepConv as RepConv

__all__ = ["RepConv", "RepLayer", "TermLayer"]
