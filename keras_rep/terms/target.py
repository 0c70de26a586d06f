"""What a term shall compute, in order to take over a trained convolution."""

import dataclasses
from typing import Any

import numpy as np

from keras_rep.kernel import Kernel


@dataclasses.dataclass(frozen=True)
class Target:
    """A convolution without bias, then a gain and an offset per channel.

    Attributes:
        kernel: The `Kernel`, of numpy.
        gain: Array of shape `(filters,)`.
        offset: Array of shape `(filters,)`.
        mean: Array of shape `(filters,)`, what a normalization behind the
            convolution shall believe to be the mean of its outputs.
        variance: Array of shape `(filters,)`, likewise.
    """

    kernel: Kernel
    gain: Any
    offset: Any
    mean: Any
    variance: Any

    @classmethod
    def of(cls, kernel, bias, groups=1):
        """The target of a convolution that no normalization follows.

        The statistics are those for inputs of unit variance.

        Args:
            kernel: Array of shape
                `(*kernel_size, in_channels // groups, filters)`.
            bias: Array of shape `(filters,)`.
            groups: Number of channel groups.
        """
        ones, zeros = np.ones(len(bias)), np.zeros(len(bias))
        variance = np.square(kernel).sum((0, 1, 2))
        silent = Kernel.of(kernel, zeros, groups)
        return cls(silent, ones, bias, zeros, variance)

    def normalize(self, gamma, beta, mean, variance, epsilon):
        """The convolution followed by a batch normalization.

        Args:
            gamma: Array of shape `(filters,)`.
            beta: Array of shape `(filters,)`.
            mean: Array of shape `(filters,)`.
            variance: Array of shape `(filters,)`.
            epsilon: Number added to the variance.
        """
        gain = gamma / np.sqrt(variance + epsilon)
        # The bias of the convolution only shifts the mean.
        mean = mean - self.offset
        return dataclasses.replace(
            self,
            gain=gain,
            offset=beta - mean * gain,
            mean=mean,
            variance=variance,
        )

    def fold(self):
        """The whole target as one `Kernel`."""
        return self.kernel.scale(self.gain, self.offset)

    def convolution(self):
        """The target of the convolution alone."""
        ones, zeros = np.ones_like(self.gain), np.zeros_like(self.gain)
        return dataclasses.replace(self, gain=ones, offset=zeros)

    def subtract(self, kernel):
        """What is left for the other branches beside one that has a kernel.

        Args:
            kernel: The branch's `Kernel`, of numpy.
        """
        ones, zeros = np.ones_like(self.gain), np.zeros_like(self.gain)
        rest = self.fold().add(kernel.scale(-ones, zeros))
        return Target(
            kernel=dataclasses.replace(rest, bias=zeros),
            gain=ones,
            offset=rest.bias,
            # Nobody knows the statistics of what is left; those of the whole
            # are a guess.
            mean=self.mean * self.gain + self.offset - rest.bias,
            variance=self.variance * np.square(self.gain),
        )
