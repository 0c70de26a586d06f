"""The form of a model whose tensors are those of an integer file.

It is plain Keras, flat, in float32: what is one operation in the file is one
layer here, so that every tensor that is rounded has a name.
"""

import keras
import numpy as np
from keras import activations, layers

from keras_rep.affine import LINEAR
from keras_rep.building import build
from keras_rep.cloning import config_of
from keras_rep.commuting import norm_affine, rescaling_affine
from keras_rep.deployment import deploy
from keras_rep.errors import Skip
from keras_rep.program import Program
from keras_rep.rewriting import rewrite

# What a file computes together with the operation in front.
FUSED = (activations.linear, activations.relu, activations.relu6)
RESCALING = (layers.Rescaling, layers.Normalization)


def prepare(model):
    """Deploys a model and brings it into the form in which it is quantized.

    Nested models are opened, activations that are operations of their own in a
    file become layers of their own, and normalizations that could not be
    folded become depthwise convolutions, which have a scale for each channel.

    Args:
        model: A built `keras.Model`. It is not changed.

    Returns:
        A new functional model. That of a prepared model has the same layers.

    Raises:
        ValueError: If the model is no Keras model.
        DeployError: If the model cannot be deployed.
    """
    program = Program(deploy(model, verify=False))
    rewrite(program, (open_model, separate_activation, widen_norm))
    return build(program, dtype="float32")


def open_model(call):
    """`model(x)` → the layers inside."""
    if call.body is None:
        return None
    return call.program.open(call)


def separate_activation(call):
    """`convolution(x)` with an activation → `Activation(convolution(x))`.

    For all activations that no operation of TFLite has built in.
    """
    layer = call.layer
    if type(layer) not in LINEAR or layer.activation in FUSED:
        return None
    function = layer.activation
    config = {**config_of(layer), "activation": activations.linear}
    linear = call.once(
        lambda: type(layer).from_config(config), layer, "linear form"
    )
    name = getattr(function, "__name__", type(function).__name__)
    activation = call.once(
        lambda: layers.Activation(function, name=f"{layer.name}_{name}"),
        layer,
        "its activation",
    )
    tensor = call.emit(linear, *call.inputs, fill=call.weights)
    return call.emit(activation, tensor)


def widen_norm(call):
    """`BatchNormalization(x)` → a depthwise convolution of 1×1.

    `Rescaling` and `Normalization` of images likewise.
    """
    layer = call.layer
    if type(layer) is layers.BatchNormalization:
        affine = norm_affine(call)
    elif type(layer) in RESCALING:
        affine = rescaling_affine(call)
    else:
        return None
    (tensor,) = call.inputs
    rank = len(tensor.shape)
    if rank not in (3, 4) or affine.axis != rank - 1:
        raise Skip("there is no depthwise convolution of this shape")
    make = {3: layers.DepthwiseConv1D, 4: layers.DepthwiseConv2D}[rank]
    wide = call.once(lambda: make(1, name=layer.name), layer, "depthwise")
    ones = (1,) * (rank - 2)
    gain = np.reshape(affine.gain, (*ones, -1, 1))
    return call.emit(wide, tensor, fill=lambda: [gain, affine.offset])


def is_float(spec):
    """Whether a KerasTensor holds real numbers."""
    return "float" in keras.backend.standardize_dtype(spec.dtype)
