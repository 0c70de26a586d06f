"""Batch statistics of 1×1 branches without computing the branches.

A chain of 1×1 convolutions and normalizations is linear in its input even in
training, once the statistics of the batch are known; and those follow from the
mean μ and the covariance Σ of the input: the outputs of a kernel K have mean
Kᵀμ and variance diag(KᵀΣK). So all 1×1 branches of a sum, identity included,
become one matrix product a step, exactly, with gradients through Σ.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_rep import backend
from keras_rep.kernel import Kernel


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and variance of a 1×1 kernel's outputs over a batch of images.

    Args:
        mean: Mean of the kernel's input, of shape `(channels,)`.
        covariance: Covariance of the input, of shape `(groups, channels //
            groups, channels // groups)`.
        kernel: `Kernel`, or `None` for the identity.
    """

    mean: Any
    covariance: Any
    kernel: Kernel | None = None

    @classmethod
    def of(cls, window, groups):
        """The moments of a sampled window.

        Args:
            window: `keras_rep.window.Window` of float32.
            groups: Number of channel groups; channels of different groups
                count as uncorrelated.
        """
        axis = backend.channel_axis(window.data_format)
        channels = window.signal.shape[axis]
        values = ops.reshape(
            ops.moveaxis(window.signal, axis, -1),
            (-1, groups, channels // groups),
        )
        mean = ops.mean(values, axis=0)
        if groups == channels:
            square = ops.mean(ops.square(values), axis=0)[..., None]
        elif groups == 1:
            flat = ops.reshape(values, (-1, channels))
            count = ops.cast(ops.shape(flat)[0], flat.dtype)
            square = ops.matmul(ops.transpose(flat), flat)[None] / count
        else:
            count = ops.cast(ops.shape(values)[0], values.dtype)
            square = ops.einsum("ngi,ngj->gij", values, values) / count
        covariance = ops.subtract(
            square, ops.multiply(mean[:, :, None], mean[:, None, :])
        )
        mean = ops.reshape(mean, (channels,))
        if window.margin is not None:
            mean = ops.add(mean, window.margin)
        return cls(mean, covariance)

    def through(self, kernel):
        """The moments of another kernel's outputs, behind this one's."""
        if self.kernel is not None:
            kernel = self.kernel.compose(kernel)
        return dataclasses.replace(self, kernel=kernel)

    def statistics(self):
        """Mean and variance, each of shape `(filters,)`."""
        groups, size, _ = self.covariance.shape
        if self.kernel is None:
            diagonal = ops.diagonal(self.covariance, axis1=1, axis2=2)
            variance = ops.reshape(diagonal, (groups * size,))
            return self.mean, ops.maximum(variance, 0.0)
        kernel = self.kernel.regroup(groups)
        mean = ops.add(kernel.respond(self.mean), kernel.bias)
        matrix = ops.reshape(kernel.kernel, (size, groups, -1))
        matrix = ops.transpose(matrix, (1, 0, 2))
        variance = ops.sum(
            ops.multiply(ops.matmul(self.covariance, matrix), matrix), axis=1
        )
        variance = ops.reshape(variance, (kernel.filters,))
        # The subtraction above can leave a negative rounding error.
        return mean, ops.maximum(variance, 0.0)
