import keras

from keras_rep.layers.arguments import check_geometry, one_of, pair, positive
from keras_rep.layers.base import RepLayer
from keras_rep.terms import Chain, Conv, Norm

# Where the gate of squeeze-and-excitation may stand. Between two linear terms,
# as before a normalization of the sum, nothing could be folded any more.
SE_POSITIONS = ("before_activation", "after_activation")


class ConvLayer(RepLayer):
    """A rep layer with the arguments of `Conv2D`, in its order.

    `TermLayer` documents them.
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        strides=1,
        padding="same",
        data_format=None,
        dilation_rate=1,
        groups=1,
        activation=None,
        *,
        momentum=0.9,
        epsilon=1e-5,
        synchronized=False,
        kernel_initializer=None,
        kernel_regularizer=None,
        kernel_constraint=None,
        se_ratio=None,
        se_position="before_activation",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = positive("filters", filters)
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides = pair("strides", strides)
        self.padding = padding
        self.data_format = data_format or keras.config.image_data_format()
        self.dilation_rate = pair("dilation_rate", dilation_rate)
        self.groups = positive("groups", groups)
        self.activation = keras.activations.get(activation)
        self.momentum = momentum
        self.epsilon = epsilon
        self.synchronized = synchronized
        # PyTorch's default, on which the published recipes rely.
        self.kernel_initializer = keras.initializers.get(
            kernel_initializer
            or keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        )
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        check_geometry(self)
        self.se_ratio = se_ratio
        self.se_position = one_of("se_position", se_position, SE_POSITIONS)
        self._check_squeeze_excite()

    # Why a layer cannot have squeeze-and-excitation, if it cannot.
    refuses_squeeze_excite: str | None = None

    def _check_squeeze_excite(self):
        if self.se_ratio is None:
            return
        if self.refuses_squeeze_excite:
            raise ValueError(
                f"'{type(self).__name__}' cannot have squeeze-and-excitation: "
                f"{self.refuses_squeeze_excite}. Received: se_ratio="
                f"{self.se_ratio}. Expected None. Put the gate behind the "
                "layer, as layers of its own."
            )
        if not 0 < self.se_ratio <= 1 or self.filters * self.se_ratio < 1:
            raise ValueError(
                f"Invalid value for `se_ratio`. Received: se_ratio="
                f"{self.se_ratio} and filters={self.filters}. Expected a "
                "number above 0 and up to 1 that leaves a hidden unit. Use "
                "1/16, or a larger number for few filters."
            )

    def make_conv(self, filters, kernel_size, **options):
        """Creates a `Conv` with this layer's groups, initializer and so on."""
        defaults = {
            "groups": self.groups,
            "kernel_initializer": self.kernel_initializer,
            "kernel_regularizer": self.kernel_regularizer,
            "kernel_constraint": self.kernel_constraint,
        }
        return Conv(filters, kernel_size, **{**defaults, **options})

    def make_norm(self, **options):
        """Creates a `Norm` with this layer's momentum, epsilon and so on."""
        return Norm(
            momentum=self.momentum,
            epsilon=self.epsilon,
            synchronized=self.synchronized,
            **options,
        )

    def make_conv_norm(self, kernel_size, filters=None, **options):
        """Creates a convolution and a `Norm` behind it.

        Args:
            kernel_size: Integer or tuple of two integers.
            filters: Number of output channels; by default the layer's own.
            **options: Arguments of the `Norm`.
        """
        conv = self.make_conv(filters or self.filters, kernel_size)
        return Chain(conv, self.make_norm(**options))

    @property
    def channels_last(self):
        return self.data_format == "channels_last"

    @property
    def outer_groups(self):
        """Number of groups of the input's and the output's channels."""
        return self.groups

    def count_channels(self, input_shape):
        """Number of input channels, after a check of the input's shape."""
        channels = input_shape[-1 if self.channels_last else 1]
        if channels is None or channels % self.outer_groups:
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
        return channels

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
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "synchronized": self.synchronized,
            "se_ratio": self.se_ratio,
            "se_position": self.se_position,
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
