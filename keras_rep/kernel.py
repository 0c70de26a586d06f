"""Convolution kernels as values, and their algebra.

A `Kernel` stands for "valid convolution with stride 1, plus bias". Every
linear branch of a re-parameterized block is one such value, and deploying a
block is nothing but arithmetic on them. The six transforms of the Diverse
Branch Block (arXiv 2103.13425) are `scale`, which folds a normalization,
`add` for parallel convolutions, `compose` for convolutions in a row, `concat`
for outputs side by side, `average` for pooling, and `embed` for a smaller
kernel.

The same code serves numpy and backend tensors: numpy in, numpy out; backend
tensors in, differentiable backend tensors out. One kernel never mixes the two.
On numpy all arithmetic runs in float64, whatever the arrays hold.
"""

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from keras_rep.arrays import FLOAT64, aligned_zeros, namespace
from keras_rep.composition import convolve_kernels, matrices
from keras_rep.parts import Part, tap_offset


def batch_norm_affine(read, mean, variance, gamma, beta, epsilon):
    """A batch normalization in inference mode, as `(gain, offset)`.

    Args:
        read: Function that turns a variable into an array.
        mean: Variable of the moving mean.
        variance: Variable of the moving variance.
        gamma: Variable of the gain, or `None` for one.
        beta: Variable of the offset, or `None` for zero.
        epsilon: Number added to the variance.
    """
    variance = read(variance)
    xp = namespace(variance)
    gain = 1.0 / xp.sqrt(xp.add(variance, epsilon))
    if gamma is not None:
        gain = xp.multiply(gain, read(gamma))
    offset = xp.multiply(read(mean), -gain)
    if beta is not None:
        offset = xp.add(offset, read(beta))
    return gain, offset


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A valid convolution with stride 1, plus bias, as an immutable value.

    It is kept as a sum of parts, so that folding normalizations and adding
    branches never touch the large arrays; `kernel` adds the parts up.

    Example:
    >>> import numpy as np
    >>> conv = Kernel.of(np.ones((3, 3, 4, 8)), np.zeros(8))
    >>> point = Kernel.of(np.ones((1, 1, 4, 8)), np.zeros(8))
    >>> conv.add(point).kernel[:, 1, 0, 0]
    array([1., 2., 1.])
    """

    parts: tuple[Part, ...]
    bias: Any
    groups: int
    kernel_size: tuple[int, ...]

    @classmethod
    def of(cls, kernel, bias, groups=1):
        """A kernel from its arrays.

        Args:
            kernel: Array of shape
                `(*kernel_size, in_channels // groups, filters)`. Output
                channel `o` belongs to group `o // (filters // groups)`.
            bias: Array of shape `(filters,)`, of the same kind.
            groups: Number of channel groups.
        """
        size = tuple(kernel.shape[:-2])
        part = Part(kernel, None, (0,) * len(size))
        return cls((part,), bias, groups, size)

    @classmethod
    def diagonal(cls, gain, offset, rank=2):
        """One gain and one offset per channel, as a 1×1 depthwise kernel.

        Args:
            gain: Array of shape `(channels,)`.
            offset: Array of shape `(channels,)`.
            rank: Number of the kernel's axes.
        """
        channels = gain.shape[0]
        kernel = namespace(gain).reshape(gain, (1,) * (rank + 1) + (channels,))
        return cls.of(kernel, offset, channels)

    @classmethod
    def average(cls, ones, offset, kernel_size):
        """Average pooling that counts the zeros of the padding.

        Args:
            ones: Array of ones, of shape `(channels,)`.
            offset: Array of shape `(channels,)`.
            kernel_size: Tuple of integers.
        """
        xp, channels = namespace(ones), ones.shape[0]
        # By the operator: `ops.divide` on PyTorch rounds float64 to float32.
        box = xp.broadcast_to(
            ones / math.prod(kernel_size), (*kernel_size, 1, channels)
        )
        return cls.of(box, offset, channels)

    @property
    def kernel(self):
        """The parts added up: in float64 on numpy, else a backend tensor."""
        if self._xp is FLOAT64:
            return self.to_numpy("float64")
        arrays = [part.spread(self.kernel_size) for part in self.parts]
        return functools.reduce(self._xp.add, arrays)

    def to_numpy(self, dtype):
        """The parts added up in float64 and rounded once.

        Args:
            dtype: Dtype of the array. The work goes tap by tap, so that an
                array of hundreds of megabytes exists once, and in this dtype.
        """
        channels = self.parts[0].weights.shape[-2:]
        total = aligned_zeros((*self.kernel_size, *channels), dtype)
        for tap in np.ndindex(self.kernel_size):
            summands = [part.tap(tap) for part in self.parts]
            summands = [each for each in summands if each is not None]
            if summands:
                total[tap] = functools.reduce(np.add, summands)
        return total

    @property
    def in_channels(self):
        return self.parts[0].weights.shape[-2] * self.groups

    @property
    def filters(self):
        return self.parts[0].weights.shape[-1]

    @property
    def taps(self):
        """Number of positions of the kernel."""
        return math.prod(self.kernel_size)

    @property
    def is_channelwise(self):
        """Whether every output reads one input channel, its own."""
        return self.groups == self.in_channels == self.filters

    @property
    def is_diagonal(self):
        """Whether every output is one input channel times a number."""
        return self.is_channelwise and self.taps == 1

    @property
    def _xp(self):
        return namespace(self.parts[0].weights)

    def scale(self, gain, offset):
        """The kernel followed by `y * gain + offset`, per output channel.

        Args:
            gain: Array of shape `(filters,)`.
            offset: Array of shape `(filters,)`.
        """
        xp = self._xp
        parts = tuple(part.scale(gain) for part in self.parts)
        bias = xp.add(xp.multiply(self.bias, gain), offset)
        return dataclasses.replace(self, parts=parts, bias=bias)

    def regroup(self, groups):
        """The same convolution written with fewer, larger groups.

        Args:
            groups: A divisor of `self.groups`.
        """
        if groups == self.groups:
            return self
        if self.groups % groups:
            raise ValueError(
                f"Cannot write a kernel of {self.groups} groups with {groups}. "
                "Expected a divisor of its number of groups. Regroup both "
                "kernels to their greatest common divisor."
            )
        parts = tuple(part.regroup(self.groups, groups) for part in self.parts)
        return dataclasses.replace(self, parts=parts, groups=groups)

    def embed(self, kernel_size):
        """The same convolution with a larger kernel, zero around the centre.

        Args:
            kernel_size: Tuple of integers, none smaller than the own size.
        """
        shift = tap_offset(kernel_size, self.kernel_size)
        if any(
            a < b for a, b in zip(kernel_size, self.kernel_size, strict=True)
        ):
            raise ValueError(
                f"Cannot embed a kernel of size {self.kernel_size} in one of "
                f"size {kernel_size}. Expected a size at least as large on "
                "every axis. Embed the smaller kernel in the larger one."
            )
        parts = tuple(part.shift(shift) for part in self.parts)
        return dataclasses.replace(
            self, parts=parts, kernel_size=tuple(kernel_size)
        )

    def spread(self, kernel_size, offset, step):
        """The same taps in a larger kernel, apart from each other.

        Args:
            kernel_size: Tuple of integers.
            offset: Index of the first tap, per axis.
            step: Distance of the taps, per axis.
        """
        place = tuple(
            slice(first, first + (k - 1) * s + 1, s)
            for first, k, s in zip(offset, self.kernel_size, step, strict=True)
        )
        kernel = self.kernel
        larger = np.zeros((*kernel_size, *kernel.shape[-2:]))
        larger[place] = kernel
        return Kernel.of(larger, self.bias, self.groups)

    def add(self, other):
        """The sum of two convolutions of the same input, centres aligned.

        It has the larger of the two sizes on every axis.
        """
        channels = [(k.in_channels, k.filters) for k in (self, other)]
        if channels[0] != channels[1]:
            raise ValueError(
                "Cannot add kernels with different channels. Received: "
                f"(in_channels, filters) of {channels}. Expected equal pairs. "
                "Give every branch of the sum the same number of filters."
            )
        size = tuple(map(max, self.kernel_size, other.kernel_size))
        groups = math.gcd(self.groups, other.groups)
        a, b = (k.regroup(groups).embed(size) for k in (self, other))
        bias = self._xp.add(a.bias, b.bias)
        return Kernel(a.parts + b.parts, bias, groups, size)

    def place(self, inputs=(0, 0), filters=(0, 0)):
        """The same convolution among more channels, zero for those.

        Args:
            inputs: Number of input channels put before and after its own.
            filters: Number of output channels put before and after its own.
        """
        dense = self.regroup(1)
        parts = tuple(part.place(inputs, filters) for part in dense.parts)
        bias = self._xp.pad(self.bias, [filters])
        return dataclasses.replace(dense, parts=parts, bias=bias)

    def concat(self, other):
        """The outputs of two convolutions of the same input, side by side.

        Its groups are merged into one.
        """
        first = self.place(filters=(0, other.filters))
        return first.add(other.place(filters=(self.filters, 0)))

    def concat_inputs(self, other):
        """The sum of two convolutions, whose inputs lie side by side.

        Its groups are merged into one.
        """
        first = self.place(inputs=(0, other.in_channels))
        return first.add(other.place(inputs=(self.in_channels, 0)))

    def direct_sum(self, other):
        """Two convolutions side by side, each with channels of its own.

        Groups are kept where those of both have one shape, as in depthwise
        convolutions; otherwise they are merged into one.
        """
        groups = self.count_groups_beside(
            other.in_channels, other.filters, other.groups
        )
        if groups == 1:
            inputs, filters = other.in_channels, other.filters
            first = self.place((0, inputs), (0, filters))
            inputs, filters = self.in_channels, self.filters
            return first.add(other.place((inputs, 0), (filters, 0)))
        xp, first = self._xp, self.regroup(groups - other.groups)
        kernel = xp.concatenate([first.kernel, other.kernel], -1)
        bias = xp.concatenate([first.bias, other.bias], 0)
        return Kernel.of(kernel, bias, groups)

    def count_groups_beside(self, in_channels, filters, groups):
        """Groups of the direct sum with a kernel of these channels."""
        shape = in_channels // groups, filters // groups
        count, rest = divmod(self.in_channels, shape[0])
        if groups == 1 or rest or self.filters != count * shape[1]:
            return 1
        return 1 if self.groups % count else groups + count

    def compose(self, other):
        """The convolution `other` applied to the output of this one.

        The size of the result is `self.kernel_size + other.kernel_size - 1`.
        Exact where no padding stands between the two convolutions, or where
        the padding carries the value of this kernel's bias.
        """
        if self.filters != other.in_channels:
            raise ValueError(
                f"Cannot compose a kernel of {self.filters} filters with one "
                f"that reads {other.in_channels} channels. Expected the same "
                "number. Swap the two, or change the number of filters."
            )
        xp = self._xp
        if other.is_diagonal:
            return self.scale(xp.reshape(other.kernel, (-1,)), other.bias)
        if other.is_channelwise and self.taps == 1:
            kernel = xp.multiply(self.kernel, other.kernel)
            bias = xp.add(other.respond(self.bias), other.bias)
            return Kernel.of(kernel, bias, self.groups)
        first = self
        if max(self.groups, other.groups) % min(self.groups, other.groups):
            first = self.regroup(math.gcd(self.groups, other.groups))
        kernel = convolve_kernels(first, other)
        bias = xp.add(other.respond(self.bias), other.bias)
        return Kernel.of(kernel, bias, min(first.groups, other.groups))

    def respond(self, constant):
        """Response, without bias, to an image of one constant colour.

        Args:
            constant: Array of shape `(in_channels,)`.

        Returns:
            Array of shape `(filters,)`.
        """
        xp = self._xp
        total = xp.sum(matrices(self), axis=0)
        constant = xp.reshape(constant, (self.groups, 1, -1))
        return xp.reshape(xp.matmul(constant, total), (-1,))
