"""Activations that let the reserved channels of a residual block pass.

Between two convolutions of a deployed block, the hidden channels need the
block's activation and the reserved ones need none. What that takes depends on
the values that the block's input can have.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_rep.layers.plain import plain_options


@dataclasses.dataclass(frozen=True)
class Activation:
    """`min(max(x, slope · x), cap)`: the activations that can be reserved.

    Args:
        function: The Keras function, or `None` if none computes it.
        slope: Its slope below zero, 0 if it is capped.
        cap: Its largest value.
    """

    function: Any
    slope: float
    cap: float = math.inf

    @classmethod
    def find(cls, function):
        """The activation that a Keras function is, or `None`."""
        known = {
            keras.activations.linear: (1.0, math.inf),
            keras.activations.relu: (0.0, math.inf),
            keras.activations.relu6: (0.0, 6.0),
            keras.activations.leaky_relu: (0.2, math.inf),
        }
        return cls(function, *known[function]) if function in known else None

    @classmethod
    def of(cls, function):
        """The activation that a Keras function is."""
        found = cls.find(function)
        if found is None:
            name = getattr(function, "__name__", function)
            raise ValueError(
                "A residual block needs an activation that can be written for "
                f"single channels. Received: activation={name!r}. Expected "
                "None, 'relu', 'relu6' or 'leaky_relu'. Use one of these."
            )
        return found

    def passes(self, input_range):
        """Whether its function leaves all values of a range as they are."""
        low, high = input_range
        is_kept = (low >= 0 or self.slope == 1) and high <= self.cap
        return is_kept and self.function is not None

    def form(self, input_range):
        """What stands in its place, in words."""
        low, _ = input_range
        if self.passes(input_range):
            return f"which {self.function.__name__} leaves as they are"
        if self.cap == math.inf:
            why = " because the input may be negative" if low < 0 else ""
            return f"kept by PReLU{why}"
        kept = "two ReLU" if low >= 0 else "two PReLU"
        return f"kept by {kept} because only the others end at {self.cap:g}"


def _unchanged(kernel):
    return kernel


@dataclasses.dataclass(frozen=True)
class Held:
    """What keeps the reserved channels behind a convolution.

    Attributes:
        activation: Activation of the convolution itself.
        pairs: The layers behind it, with functions that give their weights.
        prepare: Function that changes the convolution's `Kernel`.
    """

    activation: Any
    pairs: list = dataclasses.field(default_factory=list)
    prepare: Callable = _unchanged


def hold_reserved(activation, origin, name, reserved, hidden, input_range):
    """The activation of a block's hidden channels, past its reserved ones.

    Args:
        activation: The `Activation`.
        origin: The layer from which data format, dtype policy and so on are
            taken over.
        name: Name of the convolution before it.
        reserved: Number of reserved channels; they come first.
        hidden: Number of hidden channels.
        input_range: The smallest and the largest value in the reserved ones.

    Returns:
        A `Held`.
    """
    if not reserved or activation.passes(input_range):
        return Held(activation.function)

    def values(first, second):
        return np.repeat([first, second], [reserved, hidden])

    def rectify(slope, suffix):
        """ReLU where that is enough, else PReLU."""
        if input_range[0] >= 0 and slope == 0:
            return keras.activations.relu, []
        return None, [_prelu(origin, f"{name}_{suffix}", values(1.0, slope))]

    if activation.cap == math.inf:
        return Held(*rectify(activation.slope, "prelu"))
    # min(max(h, 0), cap) out of layers that every runtime has: the convolution
    # gives cap − h, of which max(·, 0) is cap − min(h, cap); one number per
    # channel turns that round, and max(·, 0) is left to do.
    signs, offsets = values(1.0, -1.0), values(0.0, activation.cap)
    first, first_pairs = rectify(0.0, "prelu")
    second, second_pairs = rectify(0.0, "cap_prelu")
    turn = keras.layers.DepthwiseConv2D(
        1,
        activation=second,
        trainable=origin.trainable,
        name=f"{name}_cap",
        **plain_options(origin),
    )
    weights = [
        array.astype(origin.variable_dtype)
        for array in (signs.reshape(1, 1, -1, 1), offsets)
    ]
    return Held(
        first,
        [*first_pairs, (turn, lambda: weights), *second_pairs],
        lambda kernel: kernel.scale(signs, offsets),
    )


def _prelu(origin, name, slopes):
    is_last = origin.data_format == "channels_last"
    prelu = keras.layers.PReLU(
        shared_axes=(1, 2) if is_last else (2, 3),
        trainable=origin.trainable,
        dtype=origin.dtype_policy,
        name=name,
    )
    shape = (1, 1, -1) if is_last else (-1, 1, 1)
    weights = [slopes.reshape(shape).astype(origin.variable_dtype)]
    return prelu, lambda: weights
