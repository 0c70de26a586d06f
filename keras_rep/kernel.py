"""Convolution kernels as values, and their algebra.

A `Kernel` stands for "valid convolution with stride 1, plus bias". Every
linear branch of a re-parameterized block is one such value, and deploying a
block is nothing but arithmetic on them: `scale` folds a normalization,
`compose` merges two convolutions in a row, `embed` and `add` merge parallel
ones.

The same code serves numpy and backend tensors: numpy in, numpy out; backend
tensors in, differentiable backend tensors out. One kernel never mixes the two.
On numpy all arithmetic runs in float64, whatever the arrays hold.
"""

import dataclasses
import functools
import math
import operator
from typing import Any

import numpy as np
from keras import ops

from keras_rep.arrays import FLOAT64, aligned_zeros, namespace


def centre_tap(kernel_size):
    """Index of a kernel's centre, per axis; the left one of two if even."""
    return tuple((k - 1) // 2 for k in kernel_size)


def tap_offset(outer, inner):
    """First tap that a kernel of size `inner` takes in one of size `outer`.

    The centres coincide. This, and not `(outer - inner) // 2`, is where a
    `"same"` convolution with the smaller kernel samples when one of the two
    sizes is even.
    """
    return tuple(
        a - b for a, b in zip(centre_tap(outer), centre_tap(inner), strict=True)
    )


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
class Part:
    """One summand of a kernel.

    Attributes:
        weights: Array of shape `(*size, in_channels // groups, filters)`.
        gain: Array of shape `(filters,)` that multiplies it, or `None`.
        offset: The tap of the whole kernel on which its first tap falls.
    """

    weights: Any
    gain: Any
    offset: tuple[int, ...]

    @property
    def size(self):
        return tuple(self.weights.shape[:-2])


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
    def diagonal(cls, gain, offset):
        """One gain and one offset per channel, as a 1×1 depthwise kernel.

        Args:
            gain: Array of shape `(channels,)`.
            offset: Array of shape `(channels,)`.
        """
        channels = gain.shape[0]
        kernel = namespace(gain).reshape(gain, (1, 1, 1, channels))
        return cls.of(kernel, offset, channels)

    @property
    def kernel(self):
        """The parts added up: in float64 on numpy, else a backend tensor."""
        if self._xp is FLOAT64:
            return self.to_numpy("float64")
        arrays = []
        for part in self.parts:
            weights = part.weights
            if part.gain is not None:
                weights = ops.multiply(weights, part.gain)
            if part.size != self.kernel_size:
                axes = zip(
                    self.kernel_size, part.size, part.offset, strict=True
                )
                pads = [(first, k - n - first) for k, n, first in axes]
                weights = ops.pad(weights, [*pads, (0, 0), (0, 0)])
            arrays.append(weights)
        return functools.reduce(ops.add, arrays)

    def to_numpy(self, dtype):
        """The parts added up in float64 and rounded once.

        Args:
            dtype: Dtype of the array. The work goes tap by tap, so that an
                array of hundreds of megabytes exists once, and in this dtype.
        """
        channels = self.parts[0].weights.shape[-2:]
        total = aligned_zeros((*self.kernel_size, *channels), dtype)
        for tap in np.ndindex(self.kernel_size):
            summands = []
            for part in self.parts:
                place = tuple(map(operator.sub, tap, part.offset))
                axes = zip(place, part.size, strict=True)
                if all(0 <= index < size for index, size in axes):
                    gain = 1.0 if part.gain is None else part.gain
                    summands.append(FLOAT64.multiply(part.weights[place], gain))
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
    def is_diagonal(self):
        """Whether every output is one input channel times a number."""
        one_to_one = self.groups == self.in_channels == self.filters
        return one_to_one and all(k == 1 for k in self.kernel_size)

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
        parts = tuple(
            dataclasses.replace(
                part,
                gain=gain
                if part.gain is None
                else xp.multiply(part.gain, gain),
            )
            for part in self.parts
        )
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
        parts = tuple(
            dataclasses.replace(
                part,
                weights=_block_diagonal(part.weights, self.groups, groups),
            )
            for part in self.parts
        )
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
        parts = tuple(
            dataclasses.replace(
                part, offset=tuple(map(operator.add, part.offset, shift))
            )
            for part in self.parts
        )
        return dataclasses.replace(
            self, parts=parts, kernel_size=tuple(kernel_size)
        )

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
        groups = math.gcd(self.groups, other.groups)
        first = self.regroup(groups)._matrices()
        second = other.regroup(groups)._matrices()
        # One matrix a group, with the taps among its columns: a product that
        # broadcast would overwrite memory on TensorFlow 2.21.
        columns = xp.reshape(
            xp.moveaxis(xp.reshape(second, (-1, *second.shape[-3:])), 0, -2),
            (*second.shape[-3:-1], -1),
        )
        summands = []
        for tap in np.ndindex(self.kernel_size):
            summand = self._from_columns(xp.matmul(first[tap], columns), other)
            axes = zip(tap, self.kernel_size, strict=True)
            pads = [(t, k - 1 - t) for t, k in axes]
            if any(map(any, pads)):
                summand = xp.pad(summand, [*pads, (0, 0), (0, 0)])
            summands.append(summand)
        bias = xp.add(other.respond(self.bias), other.bias)
        return Kernel.of(functools.reduce(xp.add, summands), bias, groups)

    def _from_columns(self, product, other):
        """Turns `(groups, inputs, taps · outputs)` into a kernel's array."""
        xp = self._xp
        groups, inputs, _ = product.shape
        outputs = other.filters // groups
        product = xp.reshape(product, (groups, inputs, -1, outputs))
        product = xp.moveaxis(product, (2, 1, 0), (0, 1, 2))
        shape = (*other.kernel_size, inputs, other.filters)
        return xp.reshape(product, shape)

    def respond(self, constant):
        """Response, without bias, to an image of one constant colour.

        Args:
            constant: Array of shape `(in_channels,)`.

        Returns:
            Array of shape `(filters,)`.
        """
        xp = self._xp
        axes = tuple(range(len(self.kernel_size)))
        total = xp.sum(self._matrices(), axis=axes)
        constant = xp.reshape(constant, (self.groups, 1, -1))
        return xp.reshape(xp.matmul(constant, total), (-1,))

    def _matrices(self):
        """The kernel as `(*kernel_size, groups, inputs, outputs)`."""
        xp, kernel = self._xp, self.kernel
        *size, inputs, filters = kernel.shape
        shape = (*size, inputs, self.groups, filters // self.groups)
        return xp.moveaxis(xp.reshape(kernel, shape), -2, -3)


def _block_diagonal(weights, old, new):
    """Weights of `old` groups written for `new`, fewer groups."""
    xp = namespace(weights)
    ratio = old // new
    *size, inputs, filters = weights.shape
    fine = xp.reshape(weights, (*size, 1, inputs, new, ratio, filters // old))
    diagonal = xp.reshape(
        xp.eye(ratio, dtype=weights.dtype), (ratio, 1, 1, ratio, 1)
    )
    return xp.reshape(
        xp.multiply(fine, diagonal), (*size, ratio * inputs, filters)
    )
