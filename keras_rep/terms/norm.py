import keras
import numpy as np
from keras import ops

from keras_rep import backend
from keras_rep.errors import Skip
from keras_rep.kernel import Kernel, batch_norm_affine
from keras_rep.terms.base import Term, assign_rounded, read_numpy


class Norm(Term):
    """Batch normalization over the channels.

    Args:
        momentum: Weight of the old value in the moving statistics.
        epsilon: Added to the variance.
        center: Whether to add a trainable offset, `beta`.
        scale: Whether to multiply by a trainable gain, `gamma`.
        gamma_initializer: Initializer of `gamma`.
        synchronized: Whether the statistics in training are those of the
            batches of all replicas together.
    """

    def __init__(
        self,
        *,
        momentum=0.9,
        epsilon=1e-5,
        center=True,
        scale=True,
        gamma_initializer="ones",
        synchronized=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.synchronized = synchronized

    def build(self, input_shape):
        super().build(input_shape)
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self._add_vector("gamma", self.gamma_initializer)
        if self.center:
            self.beta = self._add_vector("beta", "zeros")
        self.moving_mean = self._add_vector("moving_mean", "zeros", False)
        self.moving_variance = self._add_vector(
            "moving_variance", "ones", False
        )

    def _add_vector(self, name, initializer, trainable=True):
        return self.add_weight(
            name=name,
            shape=(self.channels,),
            initializer=initializer,
            trainable=trainable,
            autocast=False,
        )

    def affine(self, read=read_numpy):
        """The normalization by moving statistics, as `(gain, offset)`."""
        return batch_norm_affine(
            read,
            self.moving_mean,
            self.moving_variance,
            self.gamma,
            self.beta,
            self.epsilon,
        )

    def to_kernel(self, read=read_numpy):
        return Kernel.diagonal(*self.affine(read))

    def pass_back(self, target, front):
        if self.gamma is None or self.beta is None:
            raise Skip("its block has a normalization without gamma or beta")
        deviation = np.sqrt(target.variance + self.epsilon)
        assign_rounded(self.gamma, target.gain * deviation)
        assign_rounded(self.beta, target.offset + target.mean * target.gain)
        assign_rounded(self.moving_mean, target.mean)
        assign_rounded(self.moving_variance, target.variance)
        return target.convolution()

    def silence(self):
        if self.gamma is None or self.beta is None:
            return False
        assign_rounded(self.gamma, 0.0)
        assign_rounded(self.beta, 0.0)
        return True

    trains_as_kernel = False
    has_batch_kernel = True

    def batch_kernel(self, moments):
        if not self.trainable:
            return self.to_kernel(self.read_tensor)
        mean, variance = moments.statistics()
        self._track(mean, variance)
        gain, offset = batch_norm_affine(
            self.read_tensor,
            mean,
            variance,
            self.gamma,
            self.beta,
            self.epsilon,
        )
        return Kernel.diagonal(gain, offset)

    def apply(self, window, grid, training):
        if grid is not None:
            window = window.sample(grid)
        if training and self.trainable:
            return self._apply_batch(window)
        # Half precision cannot carry the offsets of several branches that
        # cancel, so the sum of a block runs in float32.
        signal = backend.at_least_single(window.signal)
        gain, offset = self.affine(self.read_tensor)
        if window.margin is not None:
            offset = ops.add(offset, ops.multiply(gain, window.margin))
        gain = backend.per_channel(gain, window.data_format)
        return window._replace(signal=ops.multiply(signal, gain), margin=offset)

    def _apply_batch(self, window):
        ones = ops.ones_like(self.read_tensor(self.moving_mean))
        gamma = ones if self.gamma is None else self.read_tensor(self.gamma)
        beta = (
            ops.zeros_like(ones)
            if self.beta is None
            else self.read_tensor(self.beta)
        )
        # The margin shifts image and mean alike, so it drops out here.
        signal, mean, variance = backend.normalize_batch(
            window.signal,
            gamma,
            beta,
            self.epsilon,
            window.data_format,
            self.synchronized,
        )
        if window.margin is not None:
            mean = ops.add(mean, window.margin)
        self._track(mean, variance)
        if window.sampled:
            return window._replace(signal=signal, margin=None)
        # Outside the image the moving statistics hold, without gradient, as
        # in the Diverse Branch Block (arXiv 2103.13425).
        gain, margin = self.affine(self.read_tensor)
        if window.margin is not None:
            margin = ops.add(margin, ops.multiply(gain, window.margin))
        margin = ops.stop_gradient(margin)
        signal = backend.shift(signal, -margin, window.data_format)
        return window._replace(signal=signal, margin=margin)

    def _track(self, mean, variance):
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            old, new = self.read_tensor(moving), ops.stop_gradient(batch)
            moving.assign(self.momentum * old + (1.0 - self.momentum) * new)
