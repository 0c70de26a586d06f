"""Convolutions that take up one gain and one offset per channel."""

import itertools

import numpy as np
from keras import layers

from keras_rep.affine import (
    LINEAR,
    channel_axis,
    check_linear,
    check_weights,
    reads_image_only,
    scale_inputs,
    scale_outputs,
    split_norm,
    with_bias,
)
from keras_rep.cloning import config_of
from keras_rep.commuting import COMMUTING, backward, forward
from keras_rep.errors import Skip


def follows_alone(follower, tensor):
    """Whether a call alone gets a tensor, whatever else its producer does.

    A producer with weights must have this follower behind all of its calls,
    so that its weights can change.
    """
    call = tensor.producer
    if call is None or not call.has_weights:
        return follower.is_only_user_of(tensor)
    return follower.always_follows(call)


def push(affine, tensor, follower):
    """Plans how a convolution upstream takes up a gain and an offset.

    Args:
        affine: The `Affine` that follows a tensor.
        tensor: A `keras_rep.calls.Tensor`.
        follower: The `Call` that gets it.

    Returns:
        Function that changes the program, and returns the tensor that takes
        the place of the one multiplied and shifted.

    Raises:
        Skip: If there is no way.
    """
    call = tensor.producer
    if call is None:
        raise Skip("its input is not the output of a convolution")
    if not follows_alone(follower, tensor):
        raise Skip(f"the output of '{call.layer.name}' has another user")
    if call.is_pinned_to_training:
        raise Skip(f"'{call.layer.name}' is called with `training=True`")
    if type(call.layer) in LINEAR:
        return _push_into_convolution(affine, call)
    if type(call.layer) is layers.BatchNormalization:
        return _push_into_norm(affine, call)
    if call.is_sum or type(call.layer) is layers.Concatenate:
        return _push_into_all(affine, call)
    through = backward(affine, call)
    plan = push(through, call.inputs[0], call)
    return lambda: call.repeat([plan()])


def _check_axis(affine, call, axis):
    if affine.axis != axis:
        raise Skip(
            f"it normalizes axis {affine.axis}, which is not the channel axis "
            f"of '{call.layer.name}'"
        )


def _push_into_convolution(affine, call):
    layer = call.layer
    _check_axis(affine, call, channel_axis(layer, len(call.output.shape)))
    check_linear(layer)

    def emit():
        folded = call.once(lambda: with_bias(layer), layer, *affine.origin)
        return call.emit(
            folded,
            *call.inputs,
            fill=lambda: scale_outputs(
                layer, call.weights(), affine.gain, affine.offset
            ),
        )

    return emit


def _push_into_norm(affine, call):
    """One normalization in place of one that another one follows."""
    layer = call.layer
    _check_axis(affine, call, layer.axis % len(call.output.shape))
    config = {**config_of(layer), "scale": True, "center": True}

    def fill():
        # The statistics stay; only gamma and beta change.
        gamma, beta, *statistics = split_norm(layer, call.weights())
        beta = beta * affine.gain + affine.offset
        return [gamma * affine.gain, beta, *statistics]

    def emit():
        both = call.once(
            lambda: type(layer).from_config(config), layer, *affine.origin
        )
        return call.emit(both, *call.inputs, fill=fill)

    return emit


def _push_into_all(affine, call):
    """Into every summand, or every layer whose outputs lie side by side."""
    tensors = call.inputs
    if not call.is_sum:
        parts = _split(affine, call)
    elif len({tensor.shape for tensor in tensors}) > 1:
        raise Skip(f"'{call.layer.name}' broadcasts its inputs")
    else:
        zero = np.zeros_like(affine.offset)
        rest = affine.part("summand", offset=zero)
        parts = [affine, *[rest] * (len(tensors) - 1)]
    plans = [
        push(part, tensor, call)
        for part, tensor in zip(parts, tensors, strict=True)
    ]
    return lambda: call.repeat([plan() for plan in plans])


def _split(affine, call):
    axis = call.layer.axis % len(call.output.shape)
    if affine.axis != axis:
        return [affine] * len(call.inputs)
    sizes = [tensor.shape[axis] for tensor in call.inputs]
    if None in sizes:
        raise Skip(f"'{call.layer.name}' joins axes of unknown length")
    stops = np.cumsum(sizes)[:-1]
    pieces = zip(
        np.split(affine.gain, stops),
        np.split(affine.offset, stops),
        strict=True,
    )
    return [
        affine.part(index, gain=gain, offset=offset)
        for index, (gain, offset) in enumerate(pieces)
    ]


def pull(call, norm_type, read):
    """Lets a convolution take up a gain and an offset from before its input.

    Args:
        call: The `Call` of a convolution.
        norm_type: Layer type, or a tuple of them, that multiply and shift.
        read: Function from the call of such a layer to an `Affine`.

    Returns:
        The tensor that takes the place of the call's output, or `None` where
        no such layer is in front.

    Raises:
        Skip: If there is one and it cannot be taken up. It names that call.
    """
    path = _path_to(call, norm_type)
    if not path:
        return None
    try:
        return _pull_along(path, call, norm_type, read)
    except Skip as skip:
        raise Skip(skip.reason, path[0]) from skip


def _path_to(call, norm_type):
    """The calls in front: one that multiplies and shifts, and those between."""
    path: list = []
    producer = call.inputs[0].producer
    # Noise that always acts does not commute.
    while (
        producer is not None
        and type(producer.layer) in COMMUTING
        and not producer.is_pinned_to_training
    ):
        path.insert(0, producer)
        producer = producer.inputs[0].producer
    if producer is None or not isinstance(producer.layer, norm_type):
        return []
    return [producer, *path]


def _pull_along(path, call, norm_type, read):
    norm, *between = path
    layer = call.layer
    check_weights(layer)
    for first, second in itertools.pairwise([*path, call]):
        if not second.is_only_user_of(first.output):
            raise Skip(f"the output of '{first.layer.name}' has another user")
    for other in call.program.calls_of(layer):
        layers_of_other = [c.layer for c in _path_to(other, norm_type)]
        if layers_of_other != [each.layer for each in path]:
            raise Skip(f"'{layer.name}' is called elsewhere, too")
    affine = read(norm)
    for each in between:
        affine = forward(affine, each)
    _check_axis(affine, call, channel_axis(layer, len(call.inputs[0].shape)))
    if affine.offset.any() and not reads_image_only(
        layer, call.inputs[0].shape
    ):
        raise Skip(
            f"'{layer.name}' pads the image with zeros, which have no offset"
        )
    (tensor,) = norm.inputs
    for each in between:
        tensor = each.repeat([tensor])
    folded = call.once(lambda: with_bias(layer), layer, *affine.origin, "front")
    return call.emit(
        folded,
        tensor,
        fill=lambda: scale_inputs(
            layer, call.weights(), affine.gain, affine.offset
        ),
    )
