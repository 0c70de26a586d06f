"""Memory access of layers and models, in elements for one sample."""

import math

from keras import activations, layers

from keras_rep import graph
from keras_rep.affine import (
    CONVOLUTIONS,
    DEPTHWISE,
    PLAIN,
    SEPARABLE,
    channel_axis,
)
from keras_rep.commuting import ELEMENTWISE as NOOPS
from keras_rep.commuting import RESHAPING
from keras_rep.errors import DeployError
from keras_rep.layers import RepLayer
from keras_rep.page.branches import layer_cost
from keras_rep.page.flow import is_atom, read_call
from keras_rep.page.operations import (
    UNKNOWN,
    Channels,
    Cost,
    in_a_row,
    product,
    single,
    total,
)
from keras_rep.rules.drop_inference_noops import AUGMENTATIONS

# What does nothing in inference mode, or gives the same numbers another shape.
FREE_LAYERS = (layers.InputLayer, *NOOPS, *AUGMENTATIONS, *RESHAPING)
FREE_OPERATIONS = {"ExpandDims", "Identity", "Reshape", "Squeeze"}
ELEMENTWISE_LAYERS = (
    layers.Activation,
    layers.Add,
    layers.Average,
    layers.BatchNormalization,
    layers.ELU,
    layers.LeakyReLU,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Normalization,
    layers.PReLU,
    layers.ReLU,
    layers.Rescaling,
    layers.Subtract,
)
ELEMENTWISE_OPERATIONS = {
    "Absolute",
    "Add",
    "Clip",
    "Divide",
    "Elu",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSilu",
    "LeakyRelu",
    "Maximum",
    "Minimum",
    "Multiply",
    "Negative",
    "Power",
    "Relu",
    "Relu6",
    "Sigmoid",
    "Silu",
    "Sqrt",
    "Square",
    "Subtract",
    "Tanh",
    "TrueDivide",
}


def cost_of(step):
    """What one call of a layer costs.

    Memory access is the number of elements that operations read and write for
    one sample: for each operation the elements of all its inputs, of all its
    outputs, and its weights, each once. Caches and the reuse of buffers do
    not count. A call of a layer is one operation, but

    - a re-parameterizable layer is one for each part of its branches, as
      `keras_rep.page.branches` says;
    - a separable convolution is two;
    - a layer or model made of layers is all of those inside of it;
    - what does nothing in inference mode (dropout, noise, random
      augmentation, linear activations) or merely reshapes is none.

    An activation that is an argument of a layer belongs to that layer's
    operation.

    Args:
        step: A `keras_rep.page.flow.Step`.

    Returns:
        A `Cost`. Its memory access is `None` where a size is unknown, and
        where a layer made of layers cannot be traced.

    Example:
    >>> import keras
    >>> from keras_rep.page.flow import read_model
    >>> model = keras.Sequential(
    ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 1)]
    ... )
    >>> cost_of(read_model(model).steps[-1]).memory  # 64·3 + 64·4 + 4·3 + 4
    464

    Reference:

    - Ma et al. 2018, "ShuffleNet V2: Practical Guidelines for Efficient CNN
      Architecture Design", arXiv 1807.11164.
    """
    layer = step.layer
    if isinstance(layer, RepLayer):
        return layer_cost(layer, step.inputs[0].shape)
    if _is_free(layer):
        return Cost()
    if not is_atom(layer):
        try:
            return total_cost(read_call(step))
        except DeployError:
            return UNKNOWN
    reads = total(map(_elements, step.inputs))
    writes = total(map(_elements, step.outputs))
    if isinstance(layer, SEPARABLE):
        return _separable_cost(layer, reads, step.outputs[0])
    is_layer = isinstance(layer, layers.Layer)
    return single(
        reads,
        writes,
        layer.count_params() if is_layer else 0,
        _channels(layer, step) if isinstance(layer, CONVOLUTIONS) else None,
        _is_elementwise(layer),
    )


def total_cost(flow, costs=None):
    """What all calls of a model cost.

    Args:
        flow: A `keras_rep.page.flow.Flow`.
        costs: The `Cost` of each step, if they are known already.

    Returns:
        A `Cost`.
    """
    costs = list(map(cost_of, flow.steps)) if costs is None else costs
    depth = flow.depth([cost.depth for cost in costs])
    return Cost(in_a_row(costs).operations, depth)


def _is_free(layer):
    if graph.operation_name(layer) in FREE_OPERATIONS:
        return True
    is_linear = (
        type(layer) is layers.Activation
        and layer.activation is activations.linear
    )
    return is_linear or type(layer) in FREE_LAYERS


def _is_elementwise(layer):
    name = graph.operation_name(layer)
    return name in ELEMENTWISE_OPERATIONS or type(layer) in ELEMENTWISE_LAYERS


def _channels(layer, step):
    inputs, outputs = (
        tensor.shape[channel_axis(layer, len(tensor.shape))]
        for tensor in (step.inputs[0], step.outputs[0])
    )
    groups = layer.groups if isinstance(layer, PLAIN) else 1
    if isinstance(layer, DEPTHWISE):
        groups = inputs
    taps = math.prod(layer.kernel_size)
    return Channels(inputs, outputs, groups, taps == 1)


def _separable_cost(layer, reads, output):
    """A depthwise convolution, and a 1×1 convolution behind it."""
    depthwise, pointwise, *bias = layer.weights
    axis = channel_axis(layer, len(output.shape))
    positions = product(*output.shape[1:axis], *output.shape[axis + 1 :])
    *taps, channels, multiplier = depthwise.shape
    width, filters = channels * multiplier, pointwise.shape[-1]
    between = product(positions, width)
    return in_a_row(
        [
            single(
                reads,
                between,
                math.prod(depthwise.shape),
                Channels(channels, width, channels, math.prod(taps) == 1),
            ),
            single(
                between,
                product(positions, filters),
                sum(math.prod(x.shape) for x in (pointwise, *bias)),
                Channels(width, filters, 1, is_pointwise=True),
            ),
        ]
    )


def _elements(tensor):
    """Number of elements of a tensor for one sample, or `None`."""
    return product(*tensor.shape[1:])
