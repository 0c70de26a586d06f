import functools
import math

import keras
import numpy as np
from keras import ops

from keras_rep.errors import Skip
from keras_rep.grid import Grid
from keras_rep.layers.base import UNLIMITED
from keras_rep.layers.conv_layer import ConvLayer
from keras_rep.layers.plain import PlainConv
from keras_rep.layers.squeeze_excite import SqueezeExcite
from keras_rep.terms import read_numpy
from keras_rep.window import Window

# What rounding of the branches may do to their sum, relative to its largest
# value: some tens of machine epsilons.
ROUNDING = {
    "float64": 1e-14,
    "float32": 5e-6,
    "float16": 0.04,
    "bfloat16": 0.3,
}


class TermLayer(ConvLayer):
    """One linear term and an activation; deploys to one convolution.

    A subclass overrides `make_term`. The arguments are those of
    `keras.layers.Conv2D`, in its order, and those of the normalizations.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"`, or `"centered"`, which pads
            `kernel_size // 2` pixels on both sides as PyTorch does.
        data_format: `"channels_last"` or `"channels_first"`; by default the
            one of the Keras configuration.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups; the number of input channels makes
            a depthwise convolution.
        activation: Activation function or its name.
        momentum: Weight of the old value in the moving statistics.
        epsilon: Added to the variance by the normalizations.
        synchronized: Whether the normalizations train with the statistics of
            all replicas' batches together: under a `tf.distribute` strategy,
            and in all processes of PyTorch's default group. On JAX they always
            do.
        kernel_initializer: Initializer of the branches' kernels; by default
            uniform within `1 / sqrt(fan_in)`, as in PyTorch.
        kernel_regularizer: Regularizer of the branches' kernels.
        kernel_constraint: Constraint of the branches' kernels.
        se_ratio: Hidden units of squeeze-and-excitation, as a share of
            `filters`; by default there is none. It stays in the deployed
            model, behind the one convolution.
        se_position: `"before_activation"` as in RepVGG and MobileOne, or
            `"after_activation"` as in RepVGGplus.
    """

    @functools.cached_property
    def grid(self):
        """The `Grid` of the deployed convolution."""
        return Grid(
            self.kernel_size, self.strides, self.dilation_rate, self.padding
        )

    def make_term(self, channels):
        """Creates the linear term.

        Args:
            channels: Number of input channels.

        Returns:
            A `keras_rep.terms.Term` with `self.filters` output channels.
        """
        raise NotImplementedError

    def preserves_shape(self, channels):
        """Whether the layer keeps channels and pixels, so has an identity.

        An even kernel with dilation may keep the size and yet have no tap on
        the pixel itself.
        """
        # With stride 1 a margin is the same for every image size.
        probe = (1000, 1000)
        return (
            channels == self.filters
            and self.strides == (1, 1)
            and self.grid.margins((1, 1), probe) == [(0, 0), (0, 0)]
        )

    def build(self, input_shape):
        self.channels = channels = self.count_channels(input_shape)
        self.compute_output_shape(input_shape)
        self.branches = self.make_term(channels)
        self.branches.name = "branches"
        # Keras hands neither down to children that come into being in `build`.
        self.branches.dtype_policy = self.dtype_policy
        self.branches.trainable = self.trainable
        self.branches.build((None, None, None, channels))
        if self.branches.filters != self.filters:
            raise ValueError(
                f"`make_term` of '{type(self).__name__}' returned a term with "
                f"{self.branches.filters} filters. Expected filters="
                f"{self.filters}. Pass `self.filters` to its last convolution."
            )

        self.gate = None
        if self.se_ratio is not None:
            hidden = int(self.filters * self.se_ratio)
            self.gate = SqueezeExcite(
                hidden,
                self.count_reserved(channels),
                self.data_format,
                dtype=self.dtype_policy,
                name="gate",
            )
            self.gate.trainable = self.trainable
            self.gate.build(self.compute_output_shape(input_shape))

    def count_reserved(self, channels):
        """Number of channels, the first ones, that merely pass the layer.

        Args:
            channels: Number of input channels.
        """
        return 0

    def call(self, inputs, training=None):
        window = Window(inputs, None, self.data_format)
        outputs = self.branches.apply(window, self.grid, training).values()
        outputs = ops.cast(outputs, self.compute_dtype)
        if self.gate is None:
            return self.activation(outputs)
        if self.se_position == "before_activation":
            return self.activation(self.gate(outputs))
        return self.gate(self.activation(outputs))

    def to_kernel(self, read=read_numpy):
        """The deployed convolution as a `keras_rep.kernel.Kernel` of numpy."""
        kernel = self.branches.to_kernel(read)
        return kernel.embed(self.kernel_size).regroup(self.groups)

    def become(self, target):
        """Sets the weights so that the layer computes a given convolution.

        Args:
            target: `keras_rep.terms.target.Target` of this layer's channels,
                filters, groups and kernel size.

        Raises:
            Skip: If the layer cannot have that kernel.
        """
        term, name = self.branches, type(self).__name__
        if self.gate is not None:
            raise Skip(f"the gate of '{name}' multiplies its output")
        form = (term.kernel_size, term.groups)
        fits = form == (self.kernel_size, self.groups)
        if not (fits and term.takes_any_kernel):
            raise Skip(f"the branches of '{name}' cannot add up to any kernel")
        term.become(target)
        self._check_kernel(target)

    def _check_kernel(self, target):
        """Raises where the kernel is another one by more than rounding."""
        kernel, expected = self.to_kernel(), target.fold()
        scale = np.abs(expected.kernel).max()
        error = np.abs(kernel.kernel - expected.kernel).max()
        # The bias is what two large numbers may leave.
        shift = np.abs(target.mean * target.gain)
        largest = max(scale, np.abs(expected.bias).max(), shift.max())
        offset = np.abs(kernel.bias - expected.bias).max()
        epsilon = ROUNDING.get(self.variable_dtype, ROUNDING["float32"])
        if not (error <= epsilon * scale and offset <= epsilon * largest):
            raise Skip(
                f"rounded, the branches of '{type(self).__name__}' add up to "
                f"a kernel that is wrong by {error:.1e} of {scale:.1e}"
            )

    def plain_conv(self, activation):
        """The `PlainConv` that the linear term deploys to."""
        return PlainConv(
            self.grid,
            self.channels,
            self.filters,
            self.groups,
            activation,
            self,
        )

    def make_deploy_layers(self, input_range=UNLIMITED):
        if self.gate is None:
            return self.plain_conv(self.activation).make_layers(self.name)
        if self.se_position == "after_activation":
            conv = self.plain_conv(self.activation)
            gate = self.gate.make_plain(self.name)
            return [*conv.make_layers(f"{self.name}_conv"), gate]
        activation = keras.layers.Activation(
            self.activation, dtype=self.dtype_policy, name=self.name
        )
        return [
            *self.plain_conv(None).make_layers(f"{self.name}_conv"),
            self.gate.make_plain(f"{self.name}_gate"),
            activation,
        ]

    def get_deploy_weights(self, input_range=UNLIMITED):
        weights = self.plain_conv(None).weights(self.to_kernel())
        if self.gate is None:
            return weights
        weights.append(self.gate.plain_weights())
        if self.se_position == "before_activation":
            weights.append([])
        return weights

    def multiply_adds(self, input_shape):
        outputs = self.compute_output_shape(input_shape)
        axes = slice(1, 3) if self.channels_last else slice(2, 4)
        if None in input_shape[axes]:
            return None
        total = self.branches.multiply_adds(
            math.prod(input_shape[axes]), math.prod(outputs[axes])
        )
        return total + (self.gate.multiply_adds() if self.gate else 0)

    def compute_output_shape(self, input_shape):
        axes = slice(1, 3) if self.channels_last else slice(2, 4)
        sizes = self.grid.output_sizes(input_shape[axes])
        if any(size is not None and size < 1 for size in sizes):
            raise ValueError(
                f"Layer '{self.name}' has no output for this input. Received: "
                f"an input of shape {input_shape}, kernel_size="
                f"{self.kernel_size} and padding={self.padding!r}. Expected "
                "an image at least as large as the kernel. Use "
                "`padding='same'`, or a larger image."
            )
        if self.channels_last:
            return (input_shape[0], *sizes, self.filters)
        return (input_shape[0], self.filters, *sizes)
