import math

import keras
import numpy as np
from keras import ops

from keras_rep.errors import Skip
from keras_rep.kernel import Kernel
from keras_rep.terms.base import Term, assign_rounded, read_numpy


class Conv(Term):
    """Convolution, without bias unless asked for one.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        groups: Number of channel groups.
        use_bias: Whether to add a bias, initially zero.
        kernel_initializer: Initializer of the kernel.
        kernel_regularizer: Regularizer of the kernel.
        kernel_constraint: Constraint of the kernel.
    """

    def __init__(
        self,
        filters,
        kernel_size=1,
        *,
        groups=1,
        use_bias=False,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        kernel_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        if isinstance(kernel_size, int):
            kernel_size = (kernel_size, kernel_size)
        self.kernel_size = tuple(kernel_size)
        self.groups = groups
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape):
        self.channels = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(
                *self.kernel_size,
                self.channels // self.groups,
                self.filters,
            ),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            # Branches are added up in full precision before they are cast.
            autocast=False,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer="zeros",
                autocast=False,
            )

    def to_kernel(self, read=read_numpy):
        bias = np.zeros(self.filters) if self.bias is None else self.bias
        return Kernel.of(read(self.kernel), read(bias), self.groups)

    def apply(self, window, grid, training):
        kernel = self.read_tensor(self.kernel)
        bias = None if self.bias is None else self.read_tensor(self.bias)
        signal = ops.cast(window.signal, self.compute_dtype)
        return window._replace(signal=signal).convolve(
            Kernel.of(kernel, bias, self.groups), grid
        )

    takes_any_kernel = True

    def become(self, target):
        kernel = self._take_bias(target)
        assign_rounded(self.kernel, kernel.kernel)

    def _take_bias(self, target):
        """Sets the bias; returns the target's kernel in this term's form."""
        kernel = target.fold()
        if self.bias is not None:
            assign_rounded(self.bias, kernel.bias)
        elif kernel.bias.any():
            raise Skip("its block has no place for a bias")
        return kernel.embed(self.kernel_size).regroup(self.groups)

    def silence(self):
        for variable in (self.kernel, self.bias):
            if variable is not None:
                assign_rounded(variable, 0.0)
        return True

    def multiply_adds(self, pixels, samples):
        return math.prod(self.kernel.shape) * samples
