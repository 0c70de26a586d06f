"""How terms join: in a row and side by side."""

import collections
import functools
import math

from keras_rep import backend
from keras_rep.kernel import Kernel
from keras_rep.moments import Moments
from keras_rep.terms.base import Term, read_numpy
from keras_rep.window import Window


class Chain(Term):
    """Terms in a row, the output of each being the input of the next.

    At most one of them may be larger than 1×1: it samples the layer's grid,
    and the terms before it see the whole image.

    Args:
        *terms: The terms, in the order in which they apply.
    """

    def __init__(self, *terms, **kwargs):
        super().__init__(**kwargs)
        self.terms = list(terms)
        used: collections.Counter[str] = collections.Counter()
        for term in terms:
            name = type(term).__name__.lower()
            term.name = f"{name}_{used[name]}" if used[name] else name
            used[name] += 1

    def build(self, input_shape):
        self.channels = input_shape[-1]
        for term in self.terms:
            term.dtype_policy = self.dtype_policy
            term.build(input_shape)
            input_shape = (*input_shape[:-1], term.filters)
        self.filters = input_shape[-1]
        self.groups = math.gcd(*(term.groups for term in self.terms))
        spatial = [
            index
            for index, term in enumerate(self.terms)
            if term.kernel_size != (1, 1)
        ]
        if len(spatial) > 1:
            sizes = [self.terms[index].kernel_size for index in spatial]
            raise ValueError(
                f"Chain has {len(spatial)} terms larger than 1×1, of sizes "
                f"{sizes}. Expected at most one, because the surroundings of "
                "an image are not constant behind it. Use one larger kernel."
            )
        self.sampling_index = spatial[0] if spatial else 0
        self.kernel_size = self.terms[self.sampling_index].kernel_size

    def to_kernel(self, read=read_numpy):
        kernels = [term.to_kernel(read) for term in self.terms]
        return functools.reduce(Kernel.compose, kernels)

    @property
    def has_batch_kernel(self):
        return all(term.has_batch_kernel for term in self.terms)

    def batch_kernel(self, moments):
        kernel = self.terms[0].batch_kernel(moments)
        for term in self.terms[1:]:
            following = term.batch_kernel(moments.through(kernel))
            kernel = kernel.compose(following)
        return kernel

    def apply(self, window, grid, training):
        for index, term in enumerate(self.terms):
            sampling = grid if index == self.sampling_index else None
            window = term.apply(window, sampling, training)
        return window

    def multiply_adds(self, pixels, samples):
        total = 0
        for index, term in enumerate(self.terms):
            after = samples if index >= self.sampling_index else pixels
            total += term.multiply_adds(pixels, after)
        return total


class Sum(Term):
    """Terms side by side on the same input, added up.

    Args:
        **branches: The terms by name. The names become attributes and the
            paths of the weights, so that saved weights survive a reordering.
    """

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
        sizes = [branch.kernel_size for branch in self.branches()]
        self.kernel_size = tuple(map(max, *sizes)) if sizes[1:] else sizes[0]

    def to_kernel(self, read=read_numpy):
        kernels = [branch.to_kernel(read) for branch in self.branches()]
        return functools.reduce(Kernel.add, kernels)

    @property
    def has_batch_kernel(self):
        return all(branch.has_batch_kernel for branch in self.branches())

    def batch_kernel(self, moments):
        kernels = [branch.batch_kernel(moments) for branch in self.branches()]
        return functools.reduce(Kernel.add, kernels)

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

    def multiply_adds(self, pixels, samples):
        return sum(
            branch.multiply_adds(pixels, samples) for branch in self.branches()
        )
