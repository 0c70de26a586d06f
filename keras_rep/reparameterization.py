"""`reparameterize`: from plain convolutions to re-parameterizable layers."""

import functools

import keras
from keras import activations, layers

from keras_rep.affine import channel_axis, check_weights, split_bias, split_norm
from keras_rep.building import build
from keras_rep.compiling import compile_like
from keras_rep.errors import Skip
from keras_rep.layers import (
    ACBConv,
    DBBConv,
    DiracConv,
    MobileOneConv,
    OREPAConv,
    QARepConv,
    RepConv,
    TermLayer,
)
from keras_rep.program import Program
from keras_rep.rewriting import rewrite
from keras_rep.selection import CONVOLUTIONS, Selection, convolutions
from keras_rep.terms.target import Target

BLOCKS = {
    "acb": ACBConv,
    "dbb": DBBConv,
    "dirac": DiracConv,
    "mobile_one": MobileOneConv,
    "orepa": OREPAConv,
    "qarep": QARepConv,
    "rep": RepConv,
}


def reparameterize(model, block=DBBConv, where=None):
    """Swaps convolutions for re-parameterizable layers, outputs unchanged.

    So a trained model can be trained further in a form with more branches;
    `deploy` gives it back its layers. A batch normalization that follows a
    convolution goes into the layer that takes its place. The new model equals
    the old one in inference mode. With normalizations behind its convolutions
    it does so in training mode as well, `"qarep"` up to their epsilon. A
    convolution without one gets its first in training mode, which changes
    what it computes there.

    Deployed, each layer has a bias, and is a `DepthwiseConv2D` if every
    channel is a group.

    Args:
        model: A built `keras.Model`: functional, sequential or subclassed. It
            is not changed.
        block: What takes the place of a convolution: a class of
            `keras_rep.layers`, a name (`"acb"`, `"dbb"`, `"dirac"`,
            `"mobile_one"`, `"orepa"`, `"qarep"` or `"rep"`), or a function
            that takes the arguments of `Conv2D` by name, and `momentum` and
            `epsilon`, and returns a `keras_rep.layers.TermLayer`.
        where: Which `Conv2D` and `DepthwiseConv2D` to swap: a function from
            such a layer to a boolean, or a collection of layer names. By
            default those whose kernel is larger than 1×1 and which the block
            can take.

    Returns:
        A new functional model, or a sequential one for a sequential model,
        with the same layer names, inputs and outputs. It is compiled with the
        same loss, metrics and a new optimizer if the model is compiled.

    Raises:
        ValueError: If the block cannot have a given kernel, if a layer that
            `where` names or selects cannot be swapped, or if none can.
        DeployError: If the model cannot be traced.

    Example:
    >>> import keras
    >>> model = keras.Sequential([
    ...     keras.Input((32, 32, 3)),
    ...     keras.layers.Conv2D(8, 3, use_bias=False, name="stem"),
    ...     keras.layers.BatchNormalization(),
    ...     keras.layers.ReLU(),
    ... ])
    >>> wide = reparameterize(model, "rep")
    >>> [type(layer).__name__ for layer in wide.layers]
    ['RepConv', 'ReLU']
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Cannot re-parameterize an object of type {type(model).__name__}. "
            f"Received: {model!r}. Expected a `keras.Model`. Wrap a layer in "
            "`keras.Sequential([keras.Input(shape), layer])`."
        )
    choice = Selection.of(where)
    rule = functools.partial(
        swap_convolution, make=_find_block(block), is_wanted=choice.wants
    )
    program = Program(model)
    rewrite(program, [rule])
    wide = build(program)
    _check_result(model, program, choice)
    compile_like(model, wide)
    return wide


def swap_convolution(call, make, is_wanted):
    """`BatchNormalization(convolution(x))` → `block(x)`, or without the first.

    Args:
        call: The `keras_rep.calls.Call` of either.
        make: Function that returns the block.
        is_wanted: Function from a layer and its path to a boolean.
    """
    conv, norm = call, None
    if type(call.layer) is layers.BatchNormalization:
        conv, norm = call.inputs[0].producer, call
    if conv is None or type(conv.layer) not in CONVOLUTIONS:
        return None
    outcome = conv.program.outcomes[id(conv.source)]
    if not is_wanted(conv.layer, outcome.path):
        return None
    try:
        if _find_norm(conv) is not norm:
            return None
        layer = conv.once(
            lambda: _make_layer(conv, norm, make), conv.layer, swap_convolution
        )
    except Skip as skip:
        raise Skip(skip.reason, conv) from skip
    return conv.emit(layer, *conv.inputs)


def _find_norm(conv):
    """The call of the normalization that a block takes up, or `None`."""
    layer, user = conv.layer, conv.output.users[0]
    if type(getattr(user, "layer", None)) is not layers.BatchNormalization:
        return None
    norm = user.layer
    calls, norm_calls = map(conv.program.calls_of, (layer, norm))
    # A mask, or `training` pinned to a value.
    options = [*user.args[1:], *user.kwargs.values()]
    rank = len(conv.output.shape)
    is_part = (
        user.always_follows(conv)
        and len(calls) == len(norm_calls)
        and not any(x is not None for x in options)
        and norm.axis % rank == channel_axis(layer, rank)
        and layer.activation is activations.linear
        and layer.activity_regularizer is None
        and user.output.spec.dtype == conv.output.spec.dtype
    )
    if not is_part:
        return None
    if layer.trainable != norm.trainable:
        raise Skip(f"either it or '{norm.name}' is trainable, not both")
    if getattr(norm, "renorm", False) or norm.synchronized:
        raise Skip(f"'{norm.name}' renormalizes, or is synchronized")
    _check_extras(norm, "gamma", "beta")
    return user


def _check_extras(layer, *weights):
    """Raises where a block has no place for regularizers or constraints."""
    for weight in weights:
        for extra in (f"{weight}_regularizer", f"{weight}_constraint"):
            if getattr(layer, extra, None) is not None:
                raise Skip(f"'{layer.name}' has a `{extra}`")


def _make_layer(conv, norm, make):
    """The layer for a convolution, built and with its weights."""
    check_weights(conv.layer)
    _check_extras(conv.layer, "bias")
    arguments = _arguments(conv, norm)
    try:
        layer = make(**arguments)
        if isinstance(layer, TermLayer):
            layer.build(conv.inputs[0].shape)
    except ValueError as error:
        raise Skip(f"the block refuses it: {error}") from error
    if not isinstance(layer, TermLayer):
        raise ValueError(
            f"`block` returned a '{type(layer).__name__}'. Received: {layer!r}."
            " Expected a `keras_rep.layers.TermLayer`, which is one linear "
            "term. Return for example `RepConv(**arguments)`."
        )
    layer.become(_target(conv, norm, arguments["groups"]))
    return layer


def _arguments(conv, norm):
    """The arguments of the block that takes the place of a convolution."""
    layer, rank = conv.layer, len(conv.output.shape)
    axis = channel_axis(layer, rank)
    is_depthwise = type(layer) is layers.DepthwiseConv2D
    prefix = "depthwise" if is_depthwise else "kernel"
    channels = conv.inputs[0].shape[axis]
    arguments = {
        "filters": conv.output.shape[axis],
        "kernel_size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "data_format": layer.data_format,
        "dilation_rate": layer.dilation_rate,
        "groups": channels if is_depthwise else layer.groups,
        "activation": layer.activation,
        "name": layer.name,
        "dtype": layer.dtype_policy,
        "trainable": layer.trainable,
    }
    for kind in ("initializer", "regularizer", "constraint"):
        arguments[f"kernel_{kind}"] = getattr(layer, f"{prefix}_{kind}")
    if norm is not None:
        arguments["momentum"] = norm.layer.momentum
        arguments["epsilon"] = norm.layer.epsilon
    last = layer if norm is None else norm.layer
    if last.activity_regularizer is not None:
        arguments["activity_regularizer"] = last.activity_regularizer
    return arguments


def _target(conv, norm, groups):
    """The `Target` of a convolution and the normalization behind it."""
    (kernel,), bias = split_bias(conv.layer, conv.weights())
    # The output c·M + m of a depthwise convolution reads channel c.
    kernel = kernel.reshape(*conv.layer.kernel_size, -1, len(bias))
    target = Target.of(kernel, bias, groups)
    if norm is None:
        return target
    gamma, beta, mean, variance = split_norm(norm.layer, norm.weights())
    return target.normalize(gamma, beta, mean, variance, norm.layer.epsilon)


def _find_block(block):
    """The function that makes a block."""
    if isinstance(block, str) and block in BLOCKS:
        return BLOCKS[block]
    is_class = isinstance(block, type)
    is_other = is_class and not issubclass(block, TermLayer)
    if is_other or isinstance(block, keras.Layer) or not callable(block):
        raise ValueError(
            f"Invalid block. Received: block={block!r}. Expected one of "
            f"{tuple(BLOCKS)}, a `keras_rep.layers.TermLayer` class, or a "
            "function that returns such a layer. Other layers, as residual "
            "blocks, are more than one convolution; use 'dbb' if in doubt."
        )
    return block


def _check_result(model, program, choice):
    """Raises if convolutions that must be swapped were not."""
    seen = [
        outcome
        for outcome in program.outcomes.values()
        if type(outcome.layer) in CONVOLUTIONS
    ]
    choice.check_names(model, [outcome.path for outcome in seen])
    is_swapped = {
        id(outcome.layer): any(
            isinstance(layer, TermLayer) for layer, _ in outcome.emitted
        )
        for outcome in seen
    }
    stays = [
        f"- '{outcome.path}': {' and '.join(outcome.reasons)}"
        for outcome in seen
        if not is_swapped[id(outcome.layer)]
        and choice.wants(outcome.layer, outcome.path)
    ]
    stays += [
        f"- '{layer.name}': nothing calls it, or only a layer that stays whole"
        for layer in convolutions(model)
        if id(layer) not in is_swapped and choice.wants(layer, layer.name)
    ]
    if any(is_swapped.values()) and not (stays and choice.is_explicit):
        return
    raise ValueError(
        "\n".join(
            [
                f"Cannot re-parameterize model '{model.name}'. Received: "
                f"{len(stays)} wanted convolutions that must stay.",
                *stays,
                "Expected at least one that the block can take, and no other "
                "one to be asked for. Change `where` or `block`.",
            ]
        )
    )
