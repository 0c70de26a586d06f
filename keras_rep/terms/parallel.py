"""How terms join side by side, on the same input."""

import functools
import math

import numpy as np

from keras_rep import backend
from keras_rep.kernel import Kernel
from keras_rep.moments import Moments
from keras_rep.terms.base import Term, read_numpy
from keras_rep.terms.target import Target
from keras_rep.window import Window


class Parallel(Term):
    """The base of `Sum` and `Concat`.

    Args:
        **branches: The terms by name. The names become attributes and the
            paths of the weights, so that saved weights survive a reordering.
    """

    # How two branches join: as kernels, and as images.
    join_kernels = staticmethod(Kernel.add)
    join_windows = staticmethod(Window.add)

    def __init__(self, **branches):
        layer_arguments = {
            name: branches.pop(name)
            for name in ("name", "dtype", "trainable")
            if name in branches
        }
        super().__init__(**layer_arguments)
        self.branch_names = tuple(branches)
        for name, branch in branches.items():
            if hasattr(self, name):
                raise ValueError(
                    f"Received a branch named '{name}', which is an attribute "
                    "of every Keras layer. Expected another name. Rename it, "
                    f"for example to '{name}_branch'."
                )
            branch.name = name
            setattr(self, name, branch)

    def branches(self):
        """The branches, in the order in which they were given."""
        return [getattr(self, name) for name in self.branch_names]

    def build(self, input_shape):
        self.channels = input_shape[-1]
        for branch in self.branches():
            branch.dtype_policy = self.dtype_policy
            branch.build(input_shape)
        sizes = [branch.kernel_size for branch in self.branches()]
        self.kernel_size = tuple(map(max, *sizes)) if sizes[1:] else sizes[0]

    def to_kernel(self, read=read_numpy):
        kernels = [branch.to_kernel(read) for branch in self.branches()]
        return functools.reduce(self.join_kernels, kernels)

    @property
    def trains_as_kernel(self):
        return all(branch.trains_as_kernel for branch in self.branches())

    @property
    def has_batch_kernel(self):
        return all(branch.has_batch_kernel for branch in self.branches())

    def batch_kernel(self, moments):
        kernels = [branch.batch_kernel(moments) for branch in self.branches()]
        return functools.reduce(self.join_kernels, kernels)

    def apply(self, window, grid, training):
        windows = [
            branch.apply(window, grid, training) for branch in self.branches()
        ]
        return functools.reduce(self.join_windows, windows)

    def multiply_adds(self, pixels, samples):
        return sum(
            branch.multiply_adds(pixels, samples) for branch in self.branches()
        )


class Sum(Parallel):
    """Terms side by side on the same input, added up.

    Args:
        **branches: The terms by name. The names become attributes and the
            paths of the weights, so that saved weights survive a reordering.
    """

    def build(self, input_shape):
        super().build(input_shape)
        filters = {
            name: getattr(self, name).filters for name in self.branch_names
        }
        if len(set(filters.values())) != 1:
            raise ValueError(
                f"Cannot add branches with different filters: {filters}. "
                "Expected the same number in each. Set `filters` of the last "
                "convolution of every branch to the same value."
            )
        self.filters = self.branches()[0].filters
        self.groups = math.gcd(*(branch.groups for branch in self.branches()))

    @property
    def main_branch(self):
        """The first branch that can have any kernel of the sum, or `None`."""
        form = (self.kernel_size, self.groups)
        return next(
            (
                branch
                for branch in self.branches()
                if branch.takes_any_kernel
                and (branch.kernel_size, branch.groups) == form
            ),
            None,
        )

    @property
    def takes_any_kernel(self):
        return self.main_branch is not None

    def become(self, target):
        main = self.main_branch
        others = [branch for branch in self.branches() if branch is not main]
        if not self.trains_as_kernel:
            # Where normalizations see other images than the target's does,
            # they give another sum in training.
            others = [branch for branch in others if not branch.silence()]
        for branch in others:
            target = target.subtract(branch.to_kernel())
        main.become(target)

    def silence(self):
        if all([branch.silence() for branch in self.branches()]):
            return True
        if self.main_branch is None:
            return False
        # The main branch takes away what the others give.
        size = (*self.kernel_size, self.channels // self.groups, self.filters)
        zeros = np.zeros(self.filters)
        self.become(Target.of(np.zeros(size), zeros, self.groups))
        return self.trains_as_kernel

    def apply(self, window, grid, training):
        merged = self._merged_branches(window, grid, training)
        windows = [
            branch.apply(window, grid, training)
            for branch in self.branches()
            if branch not in merged
        ]
        if merged:
            pixels = window if grid is None else window.sample(grid)
            groups = math.gcd(*(branch.groups for branch in merged))
            moments = Moments.of(pixels, groups)
            kernels = [branch.batch_kernel(moments) for branch in merged]
            kernel = functools.reduce(Kernel.add, kernels)
            windows.append(pixels.convolve(kernel))
        return functools.reduce(Window.add, windows)

    def _merged_branches(self, window, grid, training):
        """The 1×1 branches that one matrix product replaces, if it pays."""
        is_sampled = window.sampled or grid is not None
        pays = backend.MERGES_POINTWISE and self.compute_dtype == "float32"
        if not training or not is_sampled or not pays:
            return []
        return [b for b in self.branches() if b.has_batch_kernel]


class Concat(Parallel):
    """Terms side by side on the same input, their outputs one after another.

    Args:
        **branches: The terms by name, as for `Sum`.
    """

    join_kernels = staticmethod(Kernel.concat)
    join_windows = staticmethod(Window.concat)

    def build(self, input_shape):
        super().build(input_shape)
        self.filters = sum(branch.filters for branch in self.branches())
        self.groups = 1
