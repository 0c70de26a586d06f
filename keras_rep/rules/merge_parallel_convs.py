import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers

from keras_rep.absorbing import follows_alone
from keras_rep.affine import channel_axis
from keras_rep.calls import Tensor
from keras_rep.commuting import norm_affine
from keras_rep.errors import Skip
from keras_rep.kernel import Kernel
from keras_rep.linear import Linear, layer_weights, make_layer, read_linear


def merge_parallel_convs(call, max_growth=1.0):
    """`convolution(x) + convolution(x)` → `convolution(x)`.

    All summands that are convolutions of one tensor become one, and so do the
    tensor itself and its batch normalization. `max_growth` says how many times
    the multiply-adds of all the merged one may take.
    """
    if not call.is_sum or len({tensor.shape for tensor in call.inputs}) > 1:
        return None
    branches = [_read_branch(call, tensor) for tensor in call.inputs]
    hosts = [b for b in branches if b.linear is not None]
    reasons = []
    for host in sorted(hosts, key=lambda b: -b.weight_count):
        others = [b for b in branches if b is not host and b.root is host.root]
        if not others:
            continue
        try:
            merged = _choose(host, others, max_growth)
        except Skip as skip:
            reasons.append(skip.reason)
            continue
        return _emit(call, branches, host, merged)
    if reasons:
        raise Skip(reasons[0])
    return None


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """One summand.

    Attributes:
        tensor: The summand.
        root: The tensor that it is a convolution of, maybe itself.
        kernel: Function that returns its `Kernel`, given the number of
            channels and of the kernel's axes.
        mark: What tells its weights from others: its layer, or a word.
        linear: The convolution as a `Linear`, if it is one.
    """

    tensor: Tensor
    root: Tensor
    kernel: Callable
    mark: Any
    linear: Linear | None = None

    @property
    def weight_count(self):
        if self.linear is not None:
            return self.linear.weight_count
        return 0

    def groups(self, host):
        return host.channels if self.linear is None else self.linear.groups

    def place_in(self, host):
        """Its first tap and their distance in a `Linear`, or `None`."""
        if self.linear is not None:
            fits = (
                self.linear.family == host.family
                and self.linear.strides == host.strides
            )
            return self.linear.offset_in(host) if fits else None
        if math.prod(host.strides) > 1 or host.channels != host.filters:
            return None
        return host.point().offset_in(host)


def _read_branch(call, tensor):
    producer = tensor.producer
    if producer is None or not follows_alone(call, tensor):
        return _identity(tensor)
    try:
        linear = read_linear(producer)
    except Skip:
        return _identity(tensor)
    if linear is not None and linear.is_linear:
        return Branch(
            tensor,
            linear.root,
            lambda *_: linear.kernel(),
            linear.layer,
            linear,
        )
    is_norm = type(producer.layer) is layers.BatchNormalization
    if is_norm and not producer.is_pinned_to_training:
        return _norm(tensor, producer)
    return _identity(tensor)


def _identity(tensor):
    def kernel(channels, rank):
        return Kernel.diagonal(np.ones(channels), np.zeros(channels), rank)

    return Branch(tensor, tensor, kernel, "identity")


def _norm(tensor, call):
    affine = norm_affine(call)

    def kernel(channels, rank):
        return Kernel.diagonal(affine.gain, affine.offset, rank)

    return Branch(tensor, call.inputs[0], kernel, call.layer)


def _choose(host, others, max_growth):
    """Those that become one with the host, with their places in its kernel."""
    linear = host.linear
    groups, before = linear.groups, linear.weight_count
    chosen, reasons = [], []
    for other in others:
        place = other.place_in(linear)
        if place is None or not _has_axis_of(linear, other):
            reasons.append(
                f"'{linear.layer.name}' has no taps where {_name(other)} reads"
            )
            continue
        common = math.gcd(groups, other.groups(linear))
        taps = math.prod(linear.kernel_size)
        after = taps * linear.channels // common * linear.filters
        growth = after / (before + other.weight_count)
        if growth > max_growth:
            reasons.append(
                f"merging {_name(other)} into '{linear.layer.name}' would "
                f"take {growth:.2f} times the multiply-adds, above "
                f"max_growth={max_growth:g}"
            )
            continue
        groups, before = common, before + other.weight_count
        chosen.append((other, place))
    if not chosen:
        raise Skip("; ".join(dict.fromkeys(reasons)))
    return chosen


def _has_axis_of(linear, other):
    """Whether a normalization goes along the channels of a convolution."""
    if other.linear is not None or other.mark == "identity":
        return True
    rank = len(linear.root.shape)
    return other.mark.axis % rank == channel_axis(linear.layer, rank)


def _name(branch):
    producer = branch.tensor.producer
    if branch.mark != "identity":
        return f"'{branch.mark.name}'"
    return "the input" if producer is None else f"'{producer.layer.name}'"


def _emit(call, branches, host, chosen):
    linear = host.linear
    groups = math.gcd(linear.groups, *(b.groups(linear) for b, _ in chosen))
    # Shared layers may have other places where the image size is another one.
    marks = [(b.mark, str(place)) for b, place in chosen]
    layer = call.once(
        lambda: make_layer(
            linear.layer, (linear.channels, linear.filters, groups)
        ),
        linear.layer,
        *(mark for pair in marks for mark in pair),
    )

    def fill():
        rank = len(linear.kernel_size)
        kernels = [
            b.kernel(linear.channels, rank).spread(linear.kernel_size, *place)
            for b, place in chosen
        ]
        return layer_weights(
            layer, functools.reduce(Kernel.add, [linear.kernel(), *kernels])
        )

    output = linear.call.emit(layer, *linear.call.inputs, fill=fill)
    gone = [host, *(b for b, _ in chosen)]
    rest = [b.tensor for b in branches if b not in gone]
    if not rest:
        return output
    # Only the layer has more than two summands.
    remaining = layers.Add(name=call.layer.name, dtype=call.layer.dtype_policy)
    return call.emit(remaining, [output, *rest])
