"""What re-parameterizable layers read and write in their training form.

A layer's branches count one by one, as the terms that they are made of: each
convolution, normalization, pooling and sum is an operation. A sum or
concatenation of n branches is one operation that reads n images. A kernel that
is built anew in every step counts as the one convolution that runs on the
image. An activation belongs to the operation that it ends.
"""

import functools
import math

from keras_rep.layers import RepLayer
from keras_rep.layers.residual_layer import ResidualLayer
from keras_rep.layers.term_layer import TermLayer
from keras_rep.page.operations import (
    UNKNOWN,
    Channels,
    Cost,
    in_a_row,
    product,
    side_by_side,
    single,
)
from keras_rep.terms import (
    AddSlices,
    Chain,
    ChannelScale,
    Concat,
    Conv,
    Dirac,
    Identity,
    Merged,
    Norm,
    Slice,
    Sum,
    Term,
)


@functools.singledispatch
def layer_cost(layer: RepLayer, input_shape):
    """The `Cost` of one call of a re-parameterizable layer, before deployment.

    Args:
        layer: A built `RepLayer`.
        input_shape: Shape of its input, with the batch axis.
    """
    return UNKNOWN


@layer_cost.register
def _(layer: TermLayer, input_shape):
    sizes = _image_size(layer, input_shape)
    outputs = _image_size(layer, layer.compute_output_shape(input_shape))
    cost = term_cost(layer.branches, product(*sizes), product(*outputs))
    if layer.gate is None:
        return cost
    return in_a_row([cost, _gate_cost(layer.gate, product(*outputs))])


@layer_cost.register
def _(layer: ResidualLayer, input_shape):
    sizes = _image_size(layer, input_shape)
    costs = []
    for stage in layer.stages:
        pixels = product(*sizes)
        sizes = stage.grid.output_sizes(sizes)
        term = getattr(layer, stage.name)
        costs.append(term_cost(term, pixels, product(*sizes)))
    row, pixels = in_a_row(costs), product(*sizes)
    if not layer.has_shortcut:
        return row
    shortcut = Cost()
    if layer.projection is not None:
        shortcut = term_cost(layer.projection, pixels, pixels)
    image = product(layer.filters, pixels)
    return in_a_row([side_by_side([row, shortcut]), _sum_of(2, image)])


@functools.singledispatch
def term_cost(term: Term, pixels, samples):
    """The `Cost` of one term.

    Args:
        term: A built `keras_rep.terms.Term`.
        pixels: Number of pixels of its input, or `None`.
        samples: Number of pixels of its output, or `None`.
    """
    return single(
        product(term.channels, pixels),
        product(term.filters, samples),
        term.count_params(),
    )


@term_cost.register
def _(term: Identity, pixels, samples):
    return Cost()


@term_cost.register
def _(term: Slice, pixels, samples):
    part = product(term.filters, samples)
    return single(part, part)


@term_cost.register(Norm)
@term_cost.register(ChannelScale)
@term_cost.register(AddSlices)
def _(term, pixels, samples):
    return single(
        product(term.channels, pixels),
        product(term.filters, samples),
        term.count_params(),
        is_elementwise=True,
    )


@term_cost.register
def _(term: Conv, pixels, samples):
    return _convolution(term, pixels, samples, term.count_params())


@term_cost.register(Dirac)
@term_cost.register(Merged)
def _(term, pixels, samples):
    return _convolution(term, pixels, samples, _kernel_weights(term))


@term_cost.register
def _(term: Chain, pixels, samples):
    if term.is_one_kernel:
        return _convolution(term, pixels, samples, _kernel_weights(term))
    costs = []
    for index, part in enumerate(term.terms):
        after = samples if index >= term.sampling_index else pixels
        costs.append(term_cost(part, pixels, after))
        pixels = after
    return in_a_row(costs)


@term_cost.register
def _(term: Sum, pixels, samples):
    branches = [term_cost(x, pixels, samples) for x in term.branches()]
    if len(branches) == 1:
        return branches[0]
    join = _sum_of(len(branches), product(term.filters, samples))
    return in_a_row([side_by_side(branches), join])


@term_cost.register
def _(term: Concat, pixels, samples):
    branches = [term_cost(x, pixels, samples) for x in term.branches()]
    image = product(term.filters, samples)
    return in_a_row([side_by_side(branches), single(image, image)])


def _convolution(term, pixels, samples, weights):
    return single(
        product(term.channels, pixels),
        product(term.filters, samples),
        weights,
        Channels(
            term.channels,
            term.filters,
            term.groups,
            is_pointwise=math.prod(term.kernel_size) == 1,
        ),
    )


def _kernel_weights(term):
    taps = math.prod(term.kernel_size)
    return taps * (term.channels // term.groups) * term.filters


def _sum_of(count, image):
    return single(product(count, image), image, is_elementwise=True)


def _gate_cost(gate, pixels):
    """Squeeze-and-excitation: a mean, two convolutions and a product."""
    image = product(gate.channels, pixels)
    computed = gate.channels - gate.reserved
    costs = [single(image, gate.channels)]
    for layer, inputs, outputs in (
        (gate.reduce, gate.channels, gate.hidden),
        (gate.expand, gate.hidden, computed),
    ):
        channels = Channels(inputs, outputs, 1, is_pointwise=True)
        costs.append(single(inputs, outputs, layer.count_params(), channels))
    if gate.reserved:
        costs.append(single(gate.channels, gate.channels))
    reads = None if image is None else image + gate.channels
    return in_a_row([*costs, single(reads, image, is_elementwise=True)])


def _image_size(layer, shape):
    return shape[1:3] if layer.data_format == "channels_last" else shape[2:4]
