"""Activation functions, whichever way a model spells them."""

from keras import activations, layers

from keras_rep import graph

# Operations of `keras.ops` without arguments.
OPERATIONS = {
    "HardSigmoid": activations.hard_sigmoid,
    "HardSilu": activations.hard_silu,
    "Relu": activations.relu,
    "Relu6": activations.relu6,
    "Selu": activations.selu,
    "Sigmoid": activations.sigmoid,
    "Silu": activations.silu,
    "Softplus": activations.softplus,
    "Softsign": activations.softsign,
    "Tanh": activations.tanh,
}


def activation_function(call):
    """The function of `keras.activations` that a call computes, or `None`.

    Args:
        call: A `keras_rep.calls.Call`.
    """
    layer = call.layer
    if type(layer) is layers.Activation:
        is_own = layer.activation.__module__.partition(".")[0] == "keras"
        return layer.activation if is_own else None
    # `keras.activations.relu` on a symbol is an operation with arguments.
    if type(layer) is layers.ReLU or graph.operation_name(layer) == "ReLU":
        return _rectifier(layer)
    if type(layer) is layers.LeakyReLU:
        return {0.0: activations.relu, 0.2: activations.leaky_relu}.get(
            float(layer.negative_slope)
        )
    if type(layer) is layers.ELU:
        return activations.elu if layer.alpha == 1.0 else None
    if type(layer) is layers.Softmax:
        is_last = layer.axis in (-1, len(call.output.shape) - 1)
        is_only = len(call.inputs) == 1
        return activations.softmax if is_last and is_only else None
    return OPERATIONS.get(graph.operation_name(layer))


def _rectifier(layer):
    known = {
        (None, 0.0): activations.relu,
        (6.0, 0.0): activations.relu6,
        (None, 0.2): activations.leaky_relu,
    }
    form = (layer.max_value, float(layer.negative_slope))
    return None if layer.threshold else known.get(form)
