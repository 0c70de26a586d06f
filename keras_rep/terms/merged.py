from keras_rep.terms.base import Term, read_numpy


class Merged(Term):
    """A term computed as one kernel, built anew in every step.

    However many branches it has, one convolution runs: online
    re-parameterization, as in OREPA (arXiv 2204.00826). Normalizations cannot
    be inside, because in training their gain depends on the image.

    Args:
        term: The term.
    """

    def __init__(self, term, **kwargs):
        super().__init__(**kwargs)
        self.term = term
        term.name = "term"

    def build(self, input_shape):
        term = self.term
        term.dtype_policy = self.dtype_policy
        term.build(input_shape)
        if not term.trains_as_kernel:
            raise ValueError(
                f"Merged received a '{type(term).__name__}' that no kernel "
                "stands for in training. Expected terms with `to_kernel`, and "
                "no normalization. Put the normalization behind: "
                "`Chain(Merged(...), Norm())`."
            )
        self.channels, self.filters = term.channels, term.filters
        self.groups, self.kernel_size = term.groups, term.kernel_size

    def to_kernel(self, read=read_numpy):
        return self.term.to_kernel(read)

    @property
    def takes_any_kernel(self):
        return self.term.takes_any_kernel

    def become(self, target):
        self.term.become(target)

    def silence(self):
        return self.term.silence()

    def apply(self, window, grid, training):
        return self.apply_kernel(window, grid)

    def multiply_adds(self, pixels, samples):
        taps = self.kernel_size[0] * self.kernel_size[1]
        return taps * self.channels // self.groups * self.filters * samples
