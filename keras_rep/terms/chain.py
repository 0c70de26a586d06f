import collections
import functools
import math
import re

from keras_rep.kernel import Kernel
from keras_rep.terms.base import Term, read_numpy


class Chain(Term):
    """Terms in a row, the output of each being the input of the next.

    One of them may be larger than 1×1: it samples the layer's grid, and the
    terms before it see the whole image. Where several are larger, the chain
    is computed as one kernel, built anew in every step; then no normalization
    may be among them.

    Args:
        *terms: The terms, in the order in which they apply.
    """

    def __init__(self, *terms, **kwargs):
        super().__init__(**kwargs)
        self.terms = list(terms)
        used: collections.Counter[str] = collections.Counter()
        for term in terms:
            # Without the number that Keras puts behind a name of its own.
            name = re.sub(r"_\d+$", "", term.name)
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
        sizes = [term.kernel_size for term in self.terms]
        self.kernel_size = tuple(
            sum(axis) - len(axis) + 1 for axis in zip(*sizes, strict=True)
        )
        spatial = [i for i, size in enumerate(sizes) if size != (1, 1)]
        self.sampling_index = spatial[0] if spatial else 0
        self.is_one_kernel = len(spatial) > 1
        if self.is_one_kernel and not self.trains_as_kernel:
            raise ValueError(
                f"Chain has {len(spatial)} terms larger than 1×1, of sizes "
                f"{[sizes[i] for i in spatial]}, and normalizations or terms "
                "without `to_kernel`. Expected at most one with those, because "
                "the surroundings of an image are not constant behind it. Use "
                "one larger kernel, or normalize after the chain."
            )

    def to_kernel(self, read=read_numpy):
        kernels = [term.to_kernel(read) for term in self.terms]
        return functools.reduce(Kernel.compose, kernels)

    @property
    def trains_as_kernel(self):
        return all(term.trains_as_kernel for term in self.terms)

    @property
    def has_batch_kernel(self):
        return all(term.has_batch_kernel for term in self.terms)

    def batch_kernel(self, moments):
        kernel = self.terms[0].batch_kernel(moments)
        for term in self.terms[1:]:
            following = term.batch_kernel(moments.through(kernel))
            kernel = kernel.compose(following)
        return kernel

    @property
    def takes_any_kernel(self):
        first, *others = self.terms
        is_whole = first.kernel_size == self.kernel_size
        return (
            is_whole
            and first.takes_any_kernel
            and all(term.passes_back for term in others)
        )

    def become(self, target):
        for index in reversed(range(1, len(self.terms))):
            front = self.terms[:index]
            target = self.terms[index].pass_back(target, front)
        self.terms[0].become(target)

    def silence(self):
        for term in reversed(self.terms):
            if term.silence():
                return True
            if not term.trains_as_kernel:
                # A normalization would blow up the noise in front of it.
                return False
        return False

    def apply(self, window, grid, training):
        if self.is_one_kernel:
            return self.apply_kernel(window, grid)
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
