"""The contract of re-parameterizable layers, and the one-term base of most.

A `RepLayer` can say which plain Keras layers compute the same function in
inference mode. A `TermLayer` is the common case: one linear term, sampled as
`Conv2D` samples, and an activation. It deploys to one convolution.
"""

import math

import keras
from keras import ops

from keras_rep.terms import read_numpy
from keras_rep.window import Grid, Window, effective_size

register = keras.saving.register_keras_serializable(package="keras_rep")

PADDINGS = ("same", "valid", "centered")


class RepLayer(keras.layers.Layer):
    """A layer that deploys to a straight list of plain Keras layers."""

    def make_deploy_layers(self):
        """Creates the plain layers, not built, in the order of their calls.

        The last one bears this layer's name.
        """
        raise NotImplementedError

    def get_deploy_weights(self):
        """Weights of the plain layers, in the order of their calls.

        Returns:
            A list with one list of numpy arrays for each plain layer, as its
            `set_weights` takes it.
        """
        raise NotImplementedError

    def get_deploy_config(self):
        """Configurations of the plain layers, in the order of their calls.

        Returns:
            A list of dictionaries for `keras.layers.deserialize`.
        """
        return [
            keras.layers.serialize(layer) for layer in self.make_deploy_layers()
        ]

    def multiply_adds(self, input_shape):
        """Multiply-adds of the training form's convolutions, for one image.

        Args:
            input_shape: Shape of the input, with the batch axis.

        Returns:
            An integer, or `None` where the image size is unknown.
        """
        raise NotImplementedError


class TermLayer(RepLayer):
    """One linear term and an activation; deploys to one convolution.

    A subclass overrides `make_term`. Arguments have the meaning and order of
    `keras.layers.Conv2D`; `padding="centered"` pads `kernel_size // 2` on both
    sides as PyTorch does.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`; by default the
            one of the Keras configuration.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups; the number of input channels makes
            a depthwise convolution.
        activation: Activation function or its name.
        kernel_initializer: Initializer of the branches' kernels.
        kernel_regularizer: Regularizer of the branches' kernels.
        kernel_constraint: Constraint of the branches' kernels.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="same",
        data_format=None,
        dilation_rate=1,
        groups=1,
        activation=None,
        *,
        kernel_initializer=None,
        kernel_regularizer=None,
        kernel_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = _positive("filters", filters)
        self.kernel_size = _pair("kernel_size", kernel_size)
        self.strides = _pair("strides", strides)
        self.padding = padding
        self.data_format = data_format or keras.config.image_data_format()
        self.dilation_rate = _pair("dilation_rate", dilation_rate)
        self.groups = _positive("groups", groups)
        self.activation = keras.activations.get(activation)
        # PyTorch's default, on which the published recipes rely.
        self.kernel_initializer = keras.initializers.get(
            kernel_initializer
            or keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self._check_arguments()
        self.grid = Grid(
            self.kernel_size, self.strides, self.dilation_rate, self.padding
        )

    def _check_arguments(self):
        if self.padding not in PADDINGS:
            raise ValueError(
                f"Unknown padding. Received: padding={self.padding!r}. "
                f"Expected one of {PADDINGS}. Use 'same' to keep the size of "
                "the image."
            )
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                f"Unknown data format. Received: data_format="
                f"{self.data_format!r}. Expected 'channels_last' or "
                "'channels_first'. Leave it out to use Keras' setting."
            )
        if self.filters % self.groups:
            raise ValueError(
                "The number of filters must be divisible by the number of "
                f"groups. Received: filters={self.filters} and groups="
                f"{self.groups}. Use a multiple of {self.groups} as filters."
            )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "`strides > 1` is not supported together with `dilation_rate "
                f"> 1`. Received: strides={self.strides} and dilation_rate="
                f"{self.dilation_rate}. Set one of them to 1."
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
        """Whether output and input have one shape, whatever the image size."""
        # With stride 1 the output is larger or smaller by a constant.
        probe = (1000, 1000)
        return (
            channels == self.filters
            and self.strides == (1, 1)
            and self.grid.output_sizes(probe) == probe
        )

    def branch_options(self):
        """Keyword arguments shared by the convolutions of the branches."""
        return {
            "groups": self.groups,
            "kernel_initializer": self.kernel_initializer,
            "kernel_regularizer": self.kernel_regularizer,
            "kernel_constraint": self.kernel_constraint,
        }

    @property
    def channels_last(self):
        return self.data_format == "channels_last"

    def build(self, input_shape):
        channels = input_shape[-1 if self.channels_last else 1]
        if channels is None or channels % self.groups:
            raise ValueError(
                f"The number of input channels must be divisible by the "
                f"number of groups. Received: an input of shape {input_shape} "
                f"in the format {self.data_format}, and groups={self.groups}. "
                "Change `groups`, or give the input a known, fitting number "
                "of channels."
            )
        self.input_spec = keras.InputSpec(
            ndim=4, axes={-1 if self.channels_last else 1: channels}
        )
        self.compute_output_shape(input_shape)
        self.channels = channels
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

    def call(self, inputs, training=None):
        window = Window(inputs, None, self.data_format)
        outputs = self.branches.apply(window, self.grid, training).values()
        return self.activation(ops.cast(outputs, self.compute_dtype))

    def to_kernel(self, read=read_numpy):
        """The deployed convolution as a `keras_rep.kernel.Kernel` of numpy."""
        kernel = self.branches.to_kernel(read)
        return kernel.embed(self.kernel_size).regroup(self.groups)

    @property
    def is_depthwise(self):
        """Whether the deployed convolution is a `DepthwiseConv2D`.

        One with different strides per axis is not: TensorFlow has no such
        depthwise convolution, but it has the grouped one.
        """
        return (
            self.groups == self.channels > 1
            and self.strides[0] == self.strides[1]
        )

    @property
    def is_padded_explicitly(self):
        """Whether a `ZeroPadding2D` stands before the deployed convolution.

        Centered padding equals `"same"` for every image size only where the
        stride is 1 and the kernel spans an odd number of pixels.
        """
        axes = zip(
            self.kernel_size, self.strides, self.dilation_rate, strict=True
        )
        return self.padding == "centered" and any(
            effective_size(k, d) > 1
            and (s > 1 or effective_size(k, d) % 2 == 0)
            for k, s, d in axes
        )

    def make_deploy_layers(self):
        options = {
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "data_format": self.data_format,
            "activation": self.activation,
            "activity_regularizer": self.activity_regularizer,
            "trainable": self.trainable,
            "dtype": self.dtype_policy,
            "name": self.name,
            "padding": "same" if self.padding == "centered" else self.padding,
        }
        layers = []
        if self.is_padded_explicitly:
            options["padding"] = "valid"
            pads = self.grid.pads((None, None))
            layers.append(
                keras.layers.ZeroPadding2D(
                    tuple(pads),
                    data_format=self.data_format,
                    dtype=self.dtype_policy,
                    name=f"{self.name}_pad",
                )
            )
        if self.is_depthwise:
            conv = keras.layers.DepthwiseConv2D(
                self.kernel_size,
                depth_multiplier=self.filters // self.channels,
                **options,
            )
        else:
            conv = keras.layers.Conv2D(
                self.filters, self.kernel_size, groups=self.groups, **options
            )
        return [*layers, conv]

    def get_deploy_weights(self):
        dtype = "float64" if self.variable_dtype == "float64" else "float32"
        kernel = self.to_kernel()
        weights = [kernel.to_numpy(dtype), kernel.bias.astype(dtype)]
        if self.is_depthwise:
            size = (*self.kernel_size, self.channels, -1)
            weights[0] = weights[0].reshape(size)
        return [[], weights] if self.is_padded_explicitly else [weights]

    def multiply_adds(self, input_shape):
        outputs = self.compute_output_shape(input_shape)
        axes = slice(1, 3) if self.channels_last else slice(2, 4)
        if None in input_shape[axes]:
            return None
        return self.branches.multiply_adds(
            math.prod(input_shape[axes]), math.prod(outputs[axes])
        )

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

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            "kernel_constraint": keras.constraints.serialize(
                self.kernel_constraint
            ),
        }


def _positive(name, value):
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"Invalid value for `{name}`. Received: {name}={value!r}. Expected "
            f"a positive integer. Set `{name}` to 1 or more."
        )
    return value


def _pair(name, value):
    pair = (value, value) if isinstance(value, int) else value
    if isinstance(pair, list | tuple) and len(pair) == 2:
        return tuple(_positive(name, item) for item in pair)
    raise ValueError(
        f"Invalid value for `{name}`. Received: {name}={value!r}. Expected a "
        f"positive integer or a tuple of two. Set `{name}` to (height, width)."
    )
