"""Convolution kernels as values, and their algebra.

A `Kernel` stands for "valid convolution with stride 1, plus bias". Every
linear branch of a re-parameterized block is one such value, and deploying a
block is nothing but arithmetic on them: `scale` folds a normalization,
`compose` merges two convolutions in a row, `embed` and `add` merge parallel
ones.

The same code serves numpy and backend tensors: numpy in, numpy out; backend
tensors in, differentiable backend tensors out. One kernel never mixes the two.
"""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
from keras import ops


def namespace(array):
    """Returns the module whose functions fit `array`: numpy or `keras.ops`."""
    return np if isinstance(array, np.ndarray) else ops


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
    gain = 1.0 / namespace(variance).sqrt(variance + epsilon)
    if gamma is not None:
        gain = gain * read(gamma)
    offset = -read(mean) * gain
    if beta is not None:
        offset = offset + read(beta)
    return gain, offset


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A valid convolution with stride 1, plus bias, as an immutable value.

    Args:
        kernel: Array of shape
            `(*kernel_size, in_channels // groups, filters)`. Output channel
            `o` belongs to group `o // (filters // groups)`.
        bias: Array of shape `(filters,)`, of the same kind as `kernel`.
        groups: Number of channel groups.

    Example:

    >>> import numpy as np
    >>> conv = Kernel(np.ones((3, 3, 4, 8)), np.zeros(8))
    >>> identity = Kernel.diagonal(np.ones(8), np.zeros(8))
    >>> conv.compose(identity).kernel.shape
    (3, 3, 4, 8)
    """

    kernel: Any
    bias: Any
    groups: int = 1

    @classmethod
    def diagonal(cls, gain, offset):
        """One gain and one offset per channel, as a 1×1 depthwise kernel.

        Args:
            gain: Array of shape `(channels,)`.
            offset: Array of shape `(channels,)`.
        """
        channels = gain.shape[0]
        kernel = namespace(gain).reshape(gain, (1, 1, 1, channels))
        return cls(kernel, offset, groups=channels)

    @property
    def kernel_size(self):
        return tuple(self.kernel.shape[:-2])

    @property
    def in_channels(self):
        return self.kernel.shape[-2] * self.groups

    @property
    def filters(self):
        return self.kernel.shape[-1]

    @property
    def is_diagonal(self):
        """Whether every output is one input channel times a number."""
        one_to_one = self.groups == self.in_channels == self.filters
        return one_to_one and all(k == 1 for k in self.kernel_size)

    def scale(self, gain, offset):
        """The kernel followed by `y * gain + offset`, per output channel.

        Args:
            gain: Array of shape `(filters,)`.
            offset: Array of shape `(filters,)`.
        """
        xp = namespace(self.kernel)
        bias = xp.add(xp.multiply(self.bias, gain), offset)
        return Kernel(xp.multiply(self.kernel, gain), bias, self.groups)

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
        xp = namespace(self.kernel)
        ratio = self.groups // groups
        *size, inputs, filters = self.kernel.shape
        fine = xp.reshape(
            self.kernel,
            (*size, 1, inputs, groups, ratio, filters // self.groups),
        )
        diagonal = xp.reshape(
            xp.eye(ratio, dtype=self.kernel.dtype), (ratio, 1, 1, ratio, 1)
        )
        coarse = xp.reshape(
            xp.multiply(fine, diagonal), (*size, ratio * inputs, filters)
        )
        return Kernel(coarse, self.bias, groups)

    def embed(self, kernel_size):
        """The same convolution with a larger kernel, zero around the centre.

        Args:
            kernel_size: Tuple of integers, none smaller than the own size.
        """
        if kernel_size == self.kernel_size:
            return self
        before = tap_offset(kernel_size, self.kernel_size)
        after = [
            outer - inner - first
            for outer, inner, first in zip(
                kernel_size, self.kernel_size, before, strict=True
            )
        ]
        if min(*before, *after) < 0:
            raise ValueError(
                f"Cannot embed a kernel of size {self.kernel_size} in one of "
                f"size {kernel_size}. Expected a size at least as large on "
                "every axis. Embed the smaller kernel in the larger one."
            )
        pads = [*zip(before, after, strict=True), (0, 0), (0, 0)]
        kernel = namespace(self.kernel).pad(self.kernel, pads)
        return Kernel(kernel, self.bias, self.groups)

    def add(self, other):
        """The sum of two convolutions of the same input."""
        if self.kernel_size != other.kernel_size:
            raise ValueError(
                f"Cannot add kernels of size {self.kernel_size} and "
                f"{other.kernel_size}. Expected equal sizes. Embed the smaller "
                "one first: `a.embed(b.kernel_size)`."
            )
        if (self.in_channels, self.filters) != (
            other.in_channels,
            other.filters,
        ):
            raise ValueError(
                f"Cannot add a kernel from {self.in_channels} to "
                f"{self.filters} channels and one from {other.in_channels} to "
                f"{other.filters}. Expected equal numbers of channels. Give "
                "every branch of the sum the same number of filters."
            )
        groups = math.gcd(self.groups, other.groups)
        a, b = self.regroup(groups), other.regroup(groups)
        xp = namespace(a.kernel)
        return Kernel(
            xp.add(a.kernel, b.kernel), xp.add(a.bias, b.bias), groups
        )

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
        xp = namespace(self.kernel)
        if other.is_diagonal:
            return self.scale(xp.reshape(other.kernel, (-1,)), other.bias)
        groups = math.gcd(self.groups, other.groups)
        a, b = self.regroup(groups), other.regroup(groups)
        inputs, shared = a.kernel.shape[-2], b.kernel.shape[-2]
        # (..., groups, inputs, shared) @ (..., groups, shared, outputs)
        first = xp.moveaxis(
            xp.reshape(a.kernel, (*a.kernel_size, inputs, groups, shared)),
            -2,
            -3,
        )
        second = xp.moveaxis(
            xp.reshape(
                b.kernel, (*b.kernel_size, shared, groups, b.filters // groups)
            ),
            -2,
            -3,
        )
        kernel = None
        for tap in itertools.product(*map(range, a.kernel_size)):
            shifted = xp.matmul(first[tap], second)
            pads = [
                (t, k - 1 - t) for t, k in zip(tap, a.kernel_size, strict=True)
            ]
            if any(map(any, pads)):
                shifted = xp.pad(shifted, [*pads, (0, 0), (0, 0), (0, 0)])
            kernel = shifted if kernel is None else xp.add(kernel, shifted)
        size = tuple(
            m + n - 1
            for m, n in zip(a.kernel_size, b.kernel_size, strict=True)
        )
        return Kernel(
            xp.reshape(
                xp.moveaxis(kernel, -3, -2), (*size, inputs, b.filters)
            ),
            xp.add(b.respond(a.bias), b.bias),
            groups,
        )

    def respond(self, constant):
        """Response, without bias, to an image of one constant colour.

        Args:
            constant: Array of shape `(in_channels,)`.

        Returns:
            Array of shape `(filters,)`.
        """
        xp = namespace(self.kernel)
        total = xp.sum(self.kernel, axis=tuple(range(len(self.kernel_size))))
        total = xp.reshape(
            total,
            (self.kernel.shape[-2], self.groups, self.filters // self.groups),
        )
        constant = xp.reshape(constant, (self.groups, 1, -1))
        response = xp.matmul(constant, xp.moveaxis(total, 1, 0))
        return xp.reshape(response, (self.filters,))
