"""Plain convolutions of a program as `Kernel` values, and back.

Both directions know where a convolution reads its input: under tap `t` of an
axis lies pixel `o · stride + t · dilation − pad` for output `o`.
"""

import dataclasses
import itertools
import math
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_rep.absorbing import follows_alone
from keras_rep.affine import (
    DEPTHWISE,
    PLAIN,
    ZERO_PADDING,
    channel_axis,
    check_weights,
    split_bias,
)
from keras_rep.calls import Call, Tensor
from keras_rep.cloning import config_of
from keras_rep.grid import effective_size, same_pads
from keras_rep.kernel import Kernel

READABLE = (*PLAIN, *DEPTHWISE, layers.Dense)

# What a new layer takes over from another one's configuration.
CONFIGURATION = ("activation", "dtype", "name", "trainable", "use_bias")
GEOMETRY = (
    "data_format",
    "dilation_rate",
    "kernel_size",
    "padding",
    "strides",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """A convolution, together with the layers of zero padding in front.

    `Dense` counts as a convolution without axes.

    Attributes:
        call: The call of the convolution.
        paddings: The calls of the padding, in their order.
        root: The tensor that it reads, before the padding.
        kernel_size: Taps per axis.
        strides: Step per axis.
        dilation_rate: Distance of the taps per axis.
        pads: Zeros `(before, after)` each axis, those of the layers in front
            included; `None` for an axis where they depend on an unknown size.
        channels: Number of input channels.
        filters: Number of output channels.
        groups: Number of channel groups.
    """

    call: Call
    paddings: tuple
    root: Tensor
    kernel_size: tuple
    strides: tuple
    dilation_rate: tuple
    pads: list
    channels: int
    filters: int
    groups: int

    @property
    def layer(self):
        return self.call.layer

    @property
    def is_linear(self):
        """Whether no activation follows inside the layer."""
        return self.layer.activation is keras.activations.linear

    @property
    def is_pointwise(self):
        """Whether it reads one pixel, and never beyond the image."""
        is_single = math.prod(self.kernel_size) == 1
        return is_single and all(pad == (0, 0) for pad in self.pads)

    @property
    def keeps_pixels(self):
        """Whether it has an output for each pixel, and reads no other."""
        return self.is_pointwise and math.prod(self.strides) == 1

    @property
    def reads_image_only(self):
        """Whether it never reads beyond the edges of the image."""
        return all(pad == (0, 0) for pad in self.pads)

    @property
    def family(self):
        """What two convolutions must have in common to become one."""
        layer = self.layer
        axis = channel_axis(layer, len(self.root.shape))
        is_dense = type(layer) is layers.Dense
        return axis, len(self.root.shape), is_dense, layer.dtype_policy.name

    @property
    def weight_count(self):
        """Number of the kernel's weights."""
        inputs = self.channels // self.groups
        return math.prod(self.kernel_size) * inputs * self.filters

    @property
    def positions(self):
        """Number of outputs for one channel, or `None` if it is not known."""
        shape = list(self.call.output.shape[1:])
        del shape[channel_axis(self.layer, len(shape) + 1) - 1]
        return None if None in shape else math.prod(shape)

    def is_alone_behind(self, tensor):
        """Whether nothing but it and its padding gets a tensor."""
        path = [*self.paddings, self.call]
        return follows_alone(path[0], tensor) and all(
            second.is_only_user_of(first.output)
            for first, second in itertools.pairwise(path)
        )

    def emit_padding(self, tensor):
        """Adds calls of its padding for another tensor; returns the last."""
        for call in self.paddings:
            tensor = call.emit(call.layer, tensor)
        return tensor

    def kernel(self):
        """The convolution as a float64 `Kernel`."""
        (kernel,), bias = split_bias(self.layer, self.call.weights())
        if isinstance(self.layer, DEPTHWISE):
            kernel = kernel.reshape(*kernel.shape[:-2], 1, -1)
        return Kernel.of(kernel, bias, self.groups)

    def point(self, **changes):
        """The same convolution with a kernel of 1×1 and without padding.

        Args:
            **changes: Other attributes.
        """
        ones = (1,) * len(self.kernel_size)
        return dataclasses.replace(
            self,
            paddings=(),
            kernel_size=ones,
            dilation_rate=ones,
            pads=[(0, 0)] * len(ones),
            **changes,
        )

    def offset_in(self, host):
        """Where its taps lie among those of another convolution.

        Args:
            host: A `Linear` with the same strides.

        Returns:
            A tuple `(offset, step)`, a first tap and a distance for each axis
            of the host's kernel, or `None` if its taps are not among these.
        """
        offsets, steps = [], []
        for axis, size in enumerate(host.kernel_size):
            first = self._first_tap(host, axis)
            step, rest = divmod(
                self.dilation_rate[axis], host.dilation_rate[axis]
            )
            if self.kernel_size[axis] == 1:
                step, rest = 1, 0
            if first is None or rest:
                return None
            last = first + (self.kernel_size[axis] - 1) * step
            if first < 0 or last >= size:
                return None
            offsets.append(first)
            steps.append(step)
        return tuple(offsets), tuple(steps)

    def _first_tap(self, host, axis):
        own, other = self.pads[axis], host.pads[axis]
        if own is None and other is None:
            # Both leave the pad to the image size, which is one and the same.
            spans = [
                effective_size(each.kernel_size[axis], each.dilation_rate[axis])
                for each in (self, host)
            ]
            return 0 if spans[0] == spans[1] else None
        if own is None or other is None:
            return None
        first, rest = divmod(other[0] - own[0], host.dilation_rate[axis])
        return None if rest else first


def read_linear(call):
    """A call as a `Linear`, or `None` if it is no plain convolution.

    Args:
        call: A `keras_rep.calls.Call`, or `None`.

    Raises:
        Skip: If its weights are of another kind.
    """
    if call is None or type(call.layer) not in READABLE:
        return None
    layer = call.layer
    check_weights(layer)
    (tensor,) = call.inputs
    filters = call.output.shape[channel_axis(layer, len(call.output.shape))]
    channels = tensor.shape[channel_axis(layer, len(tensor.shape))]
    if type(layer) is layers.Dense:
        return Linear(call, (), tensor, (), (), (), [], channels, filters, 1)
    paddings, explicit = _paddings(call)
    depthwise = isinstance(layer, DEPTHWISE)
    return Linear(
        call,
        paddings,
        (*paddings, call)[0].inputs[0],
        tuple(layer.kernel_size),
        tuple(layer.strides),
        tuple(layer.dilation_rate),
        _pads(layer, tensor.shape, explicit),
        channels,
        filters,
        channels if depthwise else layer.groups,
    )


def _paddings(call):
    """The calls of zero padding in front, and the zeros they add up to."""
    rank = len(call.output.shape) - 2
    pads = [(0, 0)] * rank
    calls: tuple = ()
    while _is_own_padding(call, call.inputs[0]):
        call = call.inputs[0].producer
        calls = (call, *calls)
        padding = call.layer.padding
        axes = [padding] if rank == 1 else padding
        pads = [
            (pad[0] + more[0], pad[1] + more[1])
            for pad, more in zip(pads, axes, strict=True)
        ]
    return calls, pads


def _is_own_padding(call, tensor):
    producer = tensor.producer
    if producer is None or type(producer.layer) not in ZERO_PADDING:
        return False
    formats = {
        getattr(each.layer, "data_format", "channels_last")
        for each in (call, producer)
    }
    return len(formats) == 1


def _pads(layer, shape, explicit):
    first = channel_axis(layer, len(shape)) == 1
    sizes = shape[2:] if first else shape[1:-1]
    pads = []
    for axis, size in enumerate(sizes):
        geometry = (
            layer.kernel_size[axis],
            layer.strides[axis],
            layer.dilation_rate[axis],
        )
        own: Any = (0, 0)
        if layer.padding == "same":
            own = same_pads(size, *geometry)
        elif layer.padding == "causal":
            own = (effective_size(geometry[0], geometry[2]) - 1, 0)
        before, after = explicit[axis]
        pads.append(own and (own[0] + before, own[1] + after))
    return pads


def make_layer(host, kernel_shape, **changes):
    """A plain layer with the geometry of another one, not built.

    Args:
        host: Convolution or `Dense` whose configuration it takes over.
        kernel_shape: Its `(channels, filters, groups)`.
        **changes: Other values of its configuration.
    """
    channels, filters, groups = kernel_shape
    given = {**config_of(host), "use_bias": True, **changes}
    config = {name: given[name] for name in CONFIGURATION}
    if type(host) is layers.Dense:
        return layers.Dense(filters, **config)
    config |= {name: given[name] for name in GEOMETRY}
    rank = len(host.kernel_size)
    # TensorFlow has no depthwise convolution with different strides per axis.
    is_depthwise = (
        groups == channels > 1
        and rank < 3
        and len(set(config["strides"])) == 1
        and config["padding"] != "causal"
    )
    if is_depthwise:
        multiplier = filters // channels
        return DEPTHWISE[rank - 1](depth_multiplier=multiplier, **config)
    return PLAIN[rank - 1](filters, groups=groups, **config)


def layer_weights(layer, kernel):
    """Weights of a layer of `make_layer`, from its `Kernel`."""
    array = kernel.kernel
    if isinstance(layer, DEPTHWISE):
        size = array.shape[:-2]
        array = array.reshape(*size, -1, layer.depth_multiplier)
    return [array, np.asarray(kernel.bias)]
