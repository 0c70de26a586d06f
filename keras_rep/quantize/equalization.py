"""Scales moved between layers, so that one step fits all channels."""

import dataclasses
from typing import Any

import numpy as np
from keras import activations

from keras_rep.affine import (
    DEPTHWISE,
    LINEAR,
    TRANSPOSED,
    channel_axis,
    scale_inputs,
    scale_outputs,
)
from keras_rep.calls import OUTPUT
from keras_rep.cloning import config_of, copy_operation
from keras_rep.commuting import Affine, forward
from keras_rep.errors import Skip
from keras_rep.functions import activation_function
from keras_rep.program import Program
from keras_rep.quantize.channel_cap import ChannelCap
from keras_rep.quantize.preparing import FUSED, prepare
from keras_rep.quantize.rebuilding import rebuild

# A channel gets no larger factor in one round.
LIMIT = 1e3


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two layers, the second of which alone reads what the first returns.

    Attributes:
        first: Call of a convolution.
        second: Call of another one.
    """

    first: Any
    second: Any


def equalize(model, *, caps=True, rounds=1):
    """Scales channels up in one layer and down in the next, exactly.

    Where a kernel has one scale for all its channels, the smallest ones drown
    in its steps. A positive factor passes through a rectifier, so that the
    weights of a channel can be made larger and those that read it smaller,
    until both are alike. The cap of ReLU6 is kept for each channel: replacing
    it by ReLU would be another function. A file has an additional MINIMUM for
    each of these caps, which costs little on a CPU, but much on some NPUs: an
    Ethos-U55 takes four times the cycles for MobileNetV2. `caps=False` leaves
    out what needs them.

    Use it for `per_tensor=True`, where `keras_rep.export_tflite` does, without
    caps and followed by `correct_bias`; scales for each channel need none.

    Args:
        model: A built `keras.Model`. It is not changed.
        caps: Whether to scale what goes through ReLU6, too.
        rounds: How often to go through all pairs of layers. More make the
            kernels alike, but also the channels between them more different,
            which have one scale as well: one is best in most nets.

    Returns:
        A new plain model, deployed, with the same outputs. Where there are
        caps, it has layers of this package, `ChannelCap`.

    Raises:
        ValueError: If the model is no Keras model.
        DeployError: If the model cannot be deployed.

    Example:
    ```python
    equal = keras_rep.quantize.equalize(model)
    ranges = keras_rep.quantize.calibrate(equal, x_train[:500])
    ```

    Reference:

    - Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization
      and Bias Correction", arXiv 1906.04721.
    """
    prepared = prepare(model)
    program = Program(prepared)
    pairs = [
        pair
        for call in program.calls()
        for pair in _pairs(call)
        if caps or call.layer.activation is not activations.relu6
    ]
    weights = {
        layer.name: [x.astype("float64") for x in layer.get_weights()]
        for layer in prepared.layers
    }
    factors = {
        pair.first.layer.name: np.ones(_filters(pair.first)) for pair in pairs
    }
    for _ in range(rounds):
        for pair in pairs:
            _equalize(pair, weights, factors)
    for layer in prepared.layers:
        layer.set_weights(weights[layer.name])
    return _with_caps(program, pairs, factors)


def _pairs(call):
    if not _is_candidate(call):
        return
    tensor = call.output
    while len(tensor.users) == 1 and tensor.users != [OUTPUT]:
        (user,) = tensor.users
        if type(user.layer) in LINEAR:
            if user.is_only_call and _has_channels_last(user):
                yield Pair(call, user)
            return
        if not _passes_factors(user):
            return
        tensor = user.output


def _passes_factors(call):
    """Whether positive factors of the channels may follow a call instead."""
    if activation_function(call) is activations.relu:
        return True
    shape = call.inputs[0].shape
    gain = np.arange(1.0, shape[-1] + 1)
    factors = Affine(gain, np.zeros_like(gain), len(shape) - 1, ())
    try:
        behind = forward(factors, call)
    except Skip:
        return False
    # Neither laid out anew nor repeated.
    is_last = behind.axis == len(call.output.shape) - 1
    return is_last and behind.gain.tolist() == gain.tolist()


def _is_candidate(call):
    return (
        type(call.layer) in LINEAR
        and call.layer.activation in FUSED
        and call.is_only_call
        and _has_channels_last(call)
    )


def _has_channels_last(call):
    rank = len(call.inputs[0].shape)
    return channel_axis(call.layer, rank) == rank - 1


def _filters(call):
    return call.output.shape[-1]


def _equalize(pair, weights, factors):
    """One step for a pair of layers: changes `weights` and `factors`."""
    first, second = pair.first.layer, pair.second.layer
    one = _output_magnitudes(first, weights[first.name][0])
    other = _input_magnitudes(second, weights[second.name][0])
    is_alive = (one > 0) & (other > 0)
    ratio = np.where(is_alive, one, 1.0) / np.where(is_alive, other, 1.0)
    factor = np.clip(np.sqrt(ratio), 1 / LIMIT, LIMIT)
    zeros = np.zeros_like(factor)
    weights[first.name] = scale_outputs(
        first, weights[first.name], 1 / factor, zeros
    )
    weights[second.name] = scale_inputs(
        second, weights[second.name], factor, zeros
    )
    factors[first.name] = factors[first.name] * factor


def _output_magnitudes(layer, kernel):
    """The largest weight of each output channel."""
    size = np.abs(kernel)
    if isinstance(layer, DEPTHWISE):
        return size.max(tuple(range(size.ndim - 2))).ravel()
    if isinstance(layer, TRANSPOSED):
        return size.max((*range(size.ndim - 2), size.ndim - 1))
    return size.max(tuple(range(size.ndim - 1)))


def _input_magnitudes(layer, kernel):
    """The largest weight that reads each input channel."""
    size = np.abs(kernel)
    size = size.max(tuple(range(size.ndim - 2))) if size.ndim > 2 else size
    if isinstance(layer, DEPTHWISE):
        return size.max(1)
    if isinstance(layer, TRANSPOSED):
        return size.max(0)
    groups = getattr(layer, "groups", 1)
    grouped = size.reshape(size.shape[0], groups, -1)
    return grouped.max(2).T.ravel()


def _with_caps(program, pairs, factors):
    """The model with a cap for each channel where ReLU6 was scaled."""
    capped = {
        pair.first.layer.name: pair.first
        for pair in pairs
        if pair.first.layer.activation is activations.relu6
    }

    def copy(layer):
        if layer.name not in capped:
            return copy_operation(layer)
        config = {**config_of(layer), "activation": activations.relu}
        return type(layer).from_config(config)

    caps = {
        call.output: ChannelCap(6.0 / factors[name], name=f"{name}_cap")
        for name, call in capped.items()
    }
    return rebuild(program, copy, caps)
