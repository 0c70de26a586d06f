"""The form of a model whose tensors are those of an integer file.

It is plain Keras, flat, in float32: what is one operation in the file is one
layer here, so that every tensor that is rounded has a name.
"""

import keras
import numpy as np
from keras import activations, layers

from keras_rep import graph
from keras_rep.affine import (
    DEPTHWISE,
    LINEAR,
    PLAIN,
    SEPARABLE,
    split_bias,
    with_bias,
)
from keras_rep.building import build
from keras_rep.cloning import config_of
from keras_rep.commuting import norm_affine, rescaling_affine
from keras_rep.deployment import deploy
from keras_rep.errors import Skip
from keras_rep.functions import activation_function
from keras_rep.program import Program
from keras_rep.rewriting import rewrite
from keras_rep.rules import fuse_activations

# What a file computes together with the operation in front.
RECTIFIERS = (activations.relu, activations.relu6)
FUSED = (activations.linear, *RECTIFIERS)
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
    if any(call.body is not None for call in program.calls()):
        # Side by side, layers of several models may become one.
        rewrite(program, (open_model, drop_conversion))
        program = Program(deploy(build(program), verify=False))
    rules = (split_separable, separate_activation, widen_norm)
    rewrite(program, (*rules, fuse_rectifier, give_bias))
    return build(program, dtype="float32")


def open_model(call):
    """`model(x)` → the layers inside."""
    if call.body is None:
        return None
    return call.program.open(call)


def drop_conversion(call):
    """`convert_to_tensor(x)` → `x`: models call it on what they get."""
    if graph.operation_name(call.layer) != "ConvertToTensor":
        return None
    return call.inputs[0]


def split_separable(call):
    """`SeparableConv2D(x)` → a depthwise convolution, and one of 1×1."""
    layer = call.layer
    if type(layer) not in SEPARABLE:
        return None
    rank = layer.rank
    config = config_of(layer)
    shared = {name: config[name] for name in ("data_format", "dtype")}

    def depthwise():
        geometry = ("kernel_size", "strides", "padding", "dilation_rate")
        return DEPTHWISE[rank - 1](
            name=f"{layer.name}_depthwise",
            depth_multiplier=layer.depth_multiplier,
            use_bias=False,
            **{name: config[name] for name in geometry},
            **shared,
        )

    def pointwise():
        return PLAIN[rank - 1](
            layer.filters,
            1,
            name=layer.name,
            activation=layer.activation,
            use_bias=layer.use_bias,
            **shared,
        )

    weights = call.weights
    first = call.once(depthwise, layer, "depthwise part")
    second = call.once(pointwise, layer, "pointwise part")
    tensor = call.emit(first, *call.inputs, fill=lambda: weights()[:1])
    return call.emit(second, tensor, fill=lambda: weights()[1:])


def give_bias(call):
    """`convolution(x)` without a bias → with one, of zeros, as in a file."""
    layer = call.layer
    if type(layer) not in LINEAR or layer.use_bias:
        return None
    biased = call.once(lambda: with_bias(layer), layer, "with a bias")
    weights = call.weights

    def fill():
        kernels, bias = split_bias(layer, weights())
        return [*kernels, bias]

    return call.emit(biased, *call.inputs, fill=fill)


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


def fuse_rectifier(call):
    """`ReLU(convolution(x))` → `convolution(x)` with an activation."""
    if activation_function(call) in RECTIFIERS:
        return fuse_activations(call)
    return None


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
