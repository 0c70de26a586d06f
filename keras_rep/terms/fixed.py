"""Terms without weights."""

import functools

import numpy as np

from keras_rep.kernel import Kernel
from keras_rep.terms.base import Term, read_numpy
from keras_rep.terms.target import Target


class Identity(Term):
    """The input as it is: the identity branch without normalization."""

    def to_kernel(self, read=read_numpy):
        ones, zeros = np.ones(self.channels), np.zeros(self.channels)
        return Kernel.diagonal(read(ones), read(zeros))

    def apply(self, window, grid, training):
        return window if grid is None else window.sample(grid)


class Slice(Term):
    """Some of the channels.

    Args:
        start: Index of the first channel.
        stop: Index behind the last channel; by default all that are left.
    """

    def __init__(self, start, stop=None, **kwargs):
        super().__init__(**kwargs)
        self.start = start
        self.stop = stop

    def build(self, input_shape):
        super().build(input_shape)
        self.groups = 1
        stop = self.channels if self.stop is None else self.stop
        if not 0 <= self.start < stop <= self.channels:
            raise ValueError(
                f"Cannot slice channels {self.start} to {stop} of an image "
                f"with {self.channels}. Expected 0 <= start < stop <= "
                f"{self.channels}. Change `start` or `stop`."
            )
        self.stop = stop
        self.filters = stop - self.start

    def to_kernel(self, read=read_numpy):
        selected = np.eye(self.channels)[:, self.start : self.stop]
        return Kernel.of(
            read(selected[None, None]), read(np.zeros(self.filters))
        )

    def apply(self, window, grid, training):
        if grid is not None:
            window = window.sample(grid)
        return window.select(self.start, self.stop)


class FixedFilter(Term):
    """One given filter for each channel.

    Args:
        weights: Array of shape `(height, width, channels)`.
    """

    def __init__(self, weights, **kwargs):
        super().__init__(**kwargs)
        self.filter = np.asarray(weights)
        self.kernel_size = self.filter.shape[:2]

    def to_kernel(self, read=read_numpy):
        weights = self.filter[:, :, None]
        zeros = np.zeros(self.channels)
        return Kernel.of(read(weights), read(zeros), self.channels)

    def multiply_adds(self, pixels, samples):
        return self.filter.size * samples


class AveragePool(Term):
    """Average pooling. The zeros of the padding count.

    Args:
        kernel_size: Integer or tuple of two integers.
    """

    def __init__(self, kernel_size, **kwargs):
        super().__init__(**kwargs)
        if isinstance(kernel_size, int):
            kernel_size = (kernel_size, kernel_size)
        self.kernel_size = tuple(kernel_size)

    def to_kernel(self, read=read_numpy):
        ones, zeros = np.ones(self.channels), np.zeros(self.channels)
        return Kernel.average(read(ones), read(zeros), self.kernel_size)

    def apply(self, window, grid, training):
        if self.kernel_size == (1, 1) and grid is None:
            return window
        return window.average(self.kernel_size, grid)


class AddSlices(Term):
    """Sum of n slices of the channels, group by group.

    Behind one convolution with n times as many filters it stands for a sum of
    n convolutions.

    Args:
        count: Number of slices, n.
        groups: Number of channel groups. The channels are in the order
            `(groups, count, filters // groups)`.
    """

    def __init__(self, count, groups=1, **kwargs):
        super().__init__(**kwargs)
        self.count = count
        self.slice_groups = groups

    def build(self, input_shape):
        super().build(input_shape)
        self.groups = self.slice_groups
        self.filters = self.channels // self.count

    def to_kernel(self, read=read_numpy):
        size = self.filters // self.groups
        slices = np.tile(np.eye(size), (self.count, self.groups))
        return Kernel.of(
            read(slices[None, None]), read(np.zeros(self.filters)), self.groups
        )

    def apply(self, window, grid, training):
        if grid is not None:
            window = window.sample(grid)
        return window.add_slices(self.count, self.groups)

    def pass_back(self, target, front):
        """The first slice has the target, the others a gain of zero."""
        kernels = [term.to_kernel() for term in front]
        kernel = functools.reduce(Kernel.compose, kernels)
        kernel = kernel.embed(target.kernel.kernel_size)
        weights = kernel.regroup(target.kernel.groups).kernel
        order = np.arange(self.channels).reshape(self.groups, self.count, -1)
        first = order[:, 0].ravel()
        weights[..., first] = target.kernel.kernel
        zeros = np.zeros(self.channels)

        def widen(values, others):
            wide = np.full(self.channels, others)
            wide[first] = values
            return wide

        return Target(
            Kernel.of(weights, zeros, target.kernel.groups),
            gain=widen(target.gain, 0.0),
            offset=widen(target.offset, 0.0),
            mean=widen(target.mean, 0.0),
            variance=widen(target.variance, 1.0),
        )


class Repeat(Term):
    """The channels n times over, group by group.

    Args:
        count: Number of times, n.
        groups: Number of channel groups. The outputs are in the order
            `(groups, count, channels // groups)`.
    """

    def __init__(self, count, groups=1, **kwargs):
        super().__init__(**kwargs)
        self.count = count
        self.repeated_groups = groups

    def build(self, input_shape):
        super().build(input_shape)
        self.groups = self.repeated_groups
        self.filters = self.channels * self.count

    def to_kernel(self, read=read_numpy):
        copies = np.tile(
            np.eye(self.channels // self.groups), self.count * self.groups
        )
        return Kernel.of(
            read(copies[None, None]), read(np.zeros(self.filters)), self.groups
        )
