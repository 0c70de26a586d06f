import keras
import numpy as np

from keras_rep.arrays import namespace
from keras_rep.kernel import Kernel
from keras_rep.terms.base import assign_rounded, read_numpy
from keras_rep.terms.conv import Conv


class Dirac(Conv):
    """Convolution with the kernel `α·δ + β·W / ‖W‖`.

    δ passes every channel on where input and output have it, α and β are
    trainable gains of each output channel, and the norm is that of all
    weights of an output channel. Zagoruyko & Komodakis 2017, arXiv 1706.00388.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        alpha_initializer: Initializer of α.
        beta_initializer: Initializer of β.
        **kwargs: Further arguments of `Conv`.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        *,
        alpha_initializer="ones",
        beta_initializer=None,
        **kwargs,
    ):
        super().__init__(filters, kernel_size, **kwargs)
        self.alpha_initializer = keras.initializers.get(alpha_initializer)
        self.beta_initializer = keras.initializers.get(
            beta_initializer or keras.initializers.Constant(0.1)
        )

    def build(self, input_shape):
        super().build(input_shape)
        options = {"shape": (self.filters,), "autocast": False}
        self.alpha = self.add_weight(
            name="alpha", initializer=self.alpha_initializer, **options
        )
        self.beta = self.add_weight(
            name="beta", initializer=self.beta_initializer, **options
        )

    def to_kernel(self, read=read_numpy):
        kernel = super().to_kernel(read)
        xp, weights = namespace(kernel.kernel), kernel.kernel
        # The smallest norm is 1e-12; at zero, the gradient is finite.
        squares = xp.sum(xp.square(weights), axis=(0, 1, 2))
        gain = 1.0 / xp.sqrt(xp.add(squares, 1e-24))
        zeros = read(np.zeros(self.filters))
        noise = kernel.scale(xp.multiply(read(self.beta), gain), zeros)
        return self._dirac(read, read(self.alpha)).add(noise)

    def _dirac(self, read, gain):
        """The kernel δ, times a gain."""
        inputs, outputs = (
            channels // self.groups
            for channels in (self.channels, self.filters)
        )
        zeros = read(np.zeros(self.filters))
        passing = np.tile(np.eye(inputs, outputs), self.groups)
        dirac = Kernel.of(read(passing[None, None]), zeros, self.groups)
        return dirac.scale(gain, zeros)

    def apply(self, window, grid, training):
        return self.apply_kernel(window, grid)

    def become(self, target):
        kernel = self._take_bias(target)
        dirac = self._dirac(read_numpy, -read_numpy(self.alpha))
        weights = kernel.add(dirac).kernel
        # As in `to_kernel`, so that β / ‖W‖ is one.
        norm = np.sqrt(np.square(weights).sum((0, 1, 2)) + 1e-24)
        is_zero = ~weights.any((0, 1, 2))
        # With W at zero, neither W nor β would have a gradient.
        weights = np.where(is_zero, read_numpy(self.kernel), weights)
        assign_rounded(self.kernel, weights)
        assign_rounded(self.beta, np.where(is_zero, 0.0, norm))

    def silence(self):
        return False
