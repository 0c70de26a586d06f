"""Residual blocks in a program: a row of convolutions, and what is added.

The operation of RMNet (arXiv 2111.00687) needs to know both: the row, with the
activations between, and how the other summand reads the row's input.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
from keras import activations, layers

from keras_rep import graph
from keras_rep.absorbing import follows_alone
from keras_rep.affine import DEPTHWISE, channel_axis
from keras_rep.calls import Call, Tensor
from keras_rep.commuting import norm_affine
from keras_rep.errors import Skip
from keras_rep.functions import activation_function
from keras_rep.kernel import Kernel
from keras_rep.layers.reserving import Activation
from keras_rep.linear import Linear, read_linear

NONE = Activation.of(activations.linear)
CONVOLUTIONS = (layers.Conv2D, *DEPTHWISE[1:])
NO_ROW = "its summands are no convolutions around one tensor"
POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One linear map of the row, with the activation behind it.

    Attributes:
        linear: Where it reads, as a `Linear`.
        source: The call that it stands for.
        kernel: Function that returns its `Kernel`.
        activation: The `Activation` behind it.
        is_point: Whether it is no convolution, but is written as one of 1×1.
    """

    linear: Linear
    source: Call
    kernel: Callable
    activation: Activation = NONE
    is_point: bool = False

    def pixel(self):
        """The tap under which the pixel of each output lies; raises `Skip`."""
        place = self.linear.point().offset_in(self.linear)
        if place is None:
            raise Skip(
                f"no tap of '{self.linear.layer.name}' is known to lie on the "
                "pixel of its output"
            )
        return place


@dataclasses.dataclass(frozen=True, eq=False)
class Shortcut:
    """The other summand.

    Attributes:
        root: The tensor that it reads, which the row reads, too.
        strides: Step between the pixels that it reads, per axis.
        linear: The projection as a `Linear`, or `None` for the tensor itself.
    """

    root: Tensor
    strides: tuple
    linear: Linear | None = None

    def kernel_at(self, steps):
        """Function for its `Kernel`, in the size of the row's last one.

        Args:
            steps: List of `Step`.

        Raises:
            Skip: If the last one has no taps where it reads.
        """
        last = steps[-1]
        total = _strides(steps)
        if self.strides != total:
            raise Skip(
                f"the shortcut has strides {self.strides}, and the branch "
                f"{total}"
            )
        linear = self.linear
        place = last.pixel()
        if linear is not None and not linear.is_pointwise:
            is_same_image = math.prod(_strides(steps[:-1])) == 1
            place = linear.offset_in(last.linear) if is_same_image else None
            if place is None:
                raise Skip(
                    f"'{last.linear.layer.name}' has no taps where "
                    f"'{linear.layer.name}' reads"
                )
        size = last.linear.kernel_size
        channels = steps[0].linear.channels

        def kernel():
            own = dirac(channels) if linear is None else linear.kernel()
            return own.spread(size, *place)

        return kernel


def dirac(channels):
    """The 1×1 `Kernel` that keeps every channel."""
    return Kernel.diagonal(np.ones(channels), np.zeros(channels))


def _strides(steps):
    axes = [(1, 1), *(step.linear.strides for step in steps)]
    return tuple(math.prod(axis) for axis in zip(*axes, strict=True))


def read_residual(total):
    """The row and the shortcut of a sum of two.

    Args:
        total: The `keras_rep.calls.Call` of the sum.

    Returns:
        A tuple of a list of `Step` and a `Shortcut`.

    Raises:
        Skip: If it is no residual block of convolutions.
    """
    failures = []
    for branch, other in itertools.permutations(total.inputs, 2):
        for shortcut in _read_shortcuts(total, other):
            row: list = []
            try:
                _walk(total, branch, shortcut.root, row)
                return _steps(row[::-1]), shortcut
            except Skip as skip:
                is_specific = skip.reason != NO_ROW
                failures.append(((is_specific, len(row)), skip))
    # Of all ways to look at the sum, the one that went furthest.
    raise max(failures, key=lambda failure: failure[0])[1]


def _read_shortcuts(total, tensor):
    """What a summand may be: a tensor, some of its pixels, a projection."""
    yield Shortcut(tensor, (1, 1))
    call = tensor.producer
    if call is None or not follows_alone(total, tensor):
        return
    if type(call.layer) in POOLINGS and set(call.layer.pool_size) == {1}:
        yield Shortcut(call.inputs[0], tuple(call.layer.strides))
    linear = read_linear(call) if type(call.layer) in CONVOLUTIONS else None
    if linear is not None and linear.is_linear:
        yield Shortcut(linear.root, linear.strides, linear)


def _walk(follower, tensor, root, row):
    """Lists the calls from a tensor up to another one, the last one first.

    Args:
        follower: The call that gets the tensor.
        tensor: The `Tensor`.
        root: The `Tensor` where the row begins.
        row: List to which pairs are added: a call, and what it is.
    """
    while tensor is not root:
        call = tensor.producer
        if call is None:
            raise Skip(NO_ROW)
        if not follows_alone(follower, tensor):
            raise Skip(f"the output of '{call.layer.name}' has another user")
        element = _read_element(call)
        row.append((call, element))
        follower, tensor = call, call.inputs[0]
        if isinstance(element, Linear):
            follower, tensor = (*element.paddings, call)[0], element.root


def _read_element(call):
    """A call of the row as a `Linear`, an `Activation` or an `Affine`."""
    layer = call.layer
    if type(layer) in CONVOLUTIONS:
        return read_linear(call)
    activation = _read_activation(call)
    if activation is not None:
        return activation
    is_norm = type(layer) is layers.BatchNormalization
    if is_norm and not call.is_pinned_to_training:
        return norm_affine(call)
    raise Skip(
        f"'{layer.name}' (of type {type(layer).__name__}) stands in the branch"
    )


def _read_activation(call):
    """The `Activation` that a call is, or `None`."""
    layer = call.layer
    known = Activation.find(activation_function(call))
    if known is not None:
        return known
    is_rectifier = type(layer) is layers.ReLU or (
        graph.operation_name(layer) == "ReLU"
    )
    if is_rectifier and not layer.threshold:
        slope, cap = float(layer.negative_slope), layer.max_value
        if slope == 0 or cap is None:
            return Activation(None, slope, math.inf if cap is None else cap)
    if type(layer) is layers.LeakyReLU:
        return Activation(None, float(layer.negative_slope))
    return None


def _steps(row):
    """The steps of a row, its calls in their order."""
    convolutions = [each for _, each in row if isinstance(each, Linear)]
    if not convolutions:
        raise Skip(NO_ROW)
    steps: list[Step] = []
    for call, element in row:
        if isinstance(element, Activation):
            # In front of all, it must not touch what is added.
            last = steps.pop() if steps else _point(convolutions[0], call)
            if last.activation != NONE:
                raise Skip(f"two activations meet at '{call.layer.name}'")
            steps.append(dataclasses.replace(last, activation=element))
        elif isinstance(element, Linear):
            steps.append(_convolution(call, element))
        else:
            steps.append(_point(convolutions[0], call, element))
    if steps[-1].activation != NONE:
        raise Skip("an activation stands in front of it")
    if len(steps) == 1:
        raise Skip("around one convolution, only `merge_parallel_convs` pays")
    return steps


def _convolution(call, linear):
    activation = Activation.find(linear.layer.activation)
    if activation is None:
        raise Skip(
            f"the activation of '{linear.layer.name}' cannot be kept from "
            "single channels"
        )
    return Step(linear, call, linear.kernel, activation)


def _point(host, call, affine=None):
    """A normalization, or nothing at all, as a step of 1×1."""
    rank = len(call.output.shape)
    axis = channel_axis(host.layer, rank)
    if affine is not None and affine.axis != axis:
        raise Skip(f"'{call.layer.name}' normalizes another axis")
    channels = call.output.shape[axis]
    linear = host.point(
        strides=(1, 1),
        channels=channels,
        filters=channels,
        groups=channels,
    )

    def kernel():
        if affine is None:
            return dirac(channels)
        return Kernel.diagonal(affine.gain, affine.offset)

    return Step(linear, call, kernel, is_point=True)
