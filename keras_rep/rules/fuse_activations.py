from keras import activations

from keras_rep.absorbing import follows_alone
from keras_rep.affine import LINEAR, check_linear
from keras_rep.cloning import config_of
from keras_rep.errors import Skip
from keras_rep.functions import activation_function


def fuse_activations(call):
    """`ReLU(convolution(x))` → `convolution(x)` with `activation="relu"`.

    For all activations that have a function without arguments in
    `keras.activations`, as layers and as operations.
    """
    function = activation_function(call)
    producer = call.inputs[0].producer if call.inputs else None
    if function is None or producer is None:
        return None
    layer = producer.layer
    if type(layer) not in LINEAR or function is activations.linear:
        return None
    name = f"'{layer.name}'"
    if layer.activation is not activations.linear:
        raise Skip(f"{name} has an activation already")
    check_linear(layer)
    if not follows_alone(call, producer.output):
        raise Skip(f"the output of {name} has another user")
    if call.output.spec.dtype != producer.output.spec.dtype:
        raise Skip(
            f"it computes in {call.output.spec.dtype}, and {name} in "
            f"{producer.output.spec.dtype}"
        )
    config = {**config_of(layer), "activation": function}
    fused = call.once(
        lambda: type(layer).from_config(config), layer, fuse_activations
    )
    return producer.emit(fused, *producer.inputs, fill=producer.weights)
