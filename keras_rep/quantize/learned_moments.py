"""Means and deviations that batch normalizations learned."""

import dataclasses
import functools

import numpy as np
from keras import layers

from keras_rep import terms
from keras_rep.affine import LINEAR, split_norm
from keras_rep.commuting import COMMUTING
from keras_rep.layers.term_layer import TermLayer
from keras_rep.program import Program
from keras_rep.terms import read_numpy


@dataclasses.dataclass(frozen=True)
class Normal:
    """A normal distribution for each channel of a tensor.

    Attributes:
        mean: Array.
        deviation: Array, the standard deviations.
    """

    mean: np.ndarray
    deviation: np.ndarray


def learned_moments(model):
    """What the convolutions of a model return, before their activations.

    Args:
        model: A model that is not deployed: its normalizations know.

    Returns:
        Dictionary from the names of convolutions and re-parameterizable layers
        to `Normal`.
    """
    found: dict[str, Normal] = {}
    _collect(Program(model), found)
    return found


def _collect(program, found):
    for call in program.calls():
        layer = call.layer
        if call.body is not None:
            _collect(call.body, found)
        elif isinstance(layer, TermLayer):
            moments = _of_term(layer.branches)
            if moments is not None and layer.gate is None:
                found[layer.name] = moments
        elif type(layer) is layers.BatchNormalization:
            name = _convolution_before(call)
            if name is not None:
                gamma, beta, *_ = split_norm(layer, call.weights())
                found[name] = Normal(beta, np.abs(gamma))


def _convolution_before(call):
    """Name of the convolution that a normalization folds into."""
    producer = call.inputs[0].producer
    while producer is not None and type(producer.layer) in COMMUTING:
        producer = producer.inputs[0].producer
    is_linear = producer is not None and type(producer.layer) in LINEAR
    return producer.layer.name if is_linear else None


@functools.singledispatch
def _of_term(term):
    """The `Normal` of what a term returns, or `None` if it does not know."""
    return None


@_of_term.register
def _(norm: terms.Norm):
    variance = read_numpy(norm.moving_variance)
    gamma = np.ones_like(variance) if norm.gamma is None else norm.gamma
    beta = np.zeros_like(variance) if norm.beta is None else norm.beta
    gamma, beta = (read_numpy(x).astype("float64") for x in (gamma, beta))
    # What never varies is not normalized to a deviation of one.
    share = np.sqrt(variance / (variance + norm.epsilon))
    return Normal(beta, np.abs(gamma) * share)


@_of_term.register
def _(chain: terms.Chain):
    return _of_term(chain.terms[-1])


@_of_term.register
def _(total: terms.Sum):
    parts = [_of_term(branch) for branch in total.branches()]
    if None in parts:
        return None
    mean = np.sum([part.mean for part in parts], 0)
    deviations = np.array([part.deviation for part in parts])
    apart = np.sqrt(np.square(deviations).sum(0))
    return Normal(mean, np.sqrt(apart * deviations.sum(0)))
