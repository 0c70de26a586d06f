"""Online re-parameterization: one kernel built in every step.

No branch has a normalization of its own, so the branches add up in weight
space before they meet the image, and training costs little more than a plain
convolution, however many branches there are.
"""

import keras
import numpy as np

from keras_rep.layers.arguments import one_of
from keras_rep.layers.term_layer import TermLayer
from keras_rep.terms import (
    AveragePool,
    Chain,
    ChannelScale,
    FixedFilter,
    Identity,
    Repeat,
    Sum,
)

# Initial gains of the six branches.
GAINS = {
    "origin": 0.25,
    "average": 0.25,
    "prior": 0.0,
    "point_kxk": 0.5,
    "point": 1.0,
    "separable": 0.5,
}
SCALINGS = ("vector", "scalar", "none")
# The depthwise-separable branch is this many times as wide as the input.
EXPANSION = 8


def frequency_filters(kernel_size, filters):
    """The frequency prior: cosines along the rows, then along the columns.

    Args:
        kernel_size: Tuple of two integers. The cosines have its period, where
            the published code has a period of 3 for every size.
        filters: Number of filters; half of them vary along each axis.

    Returns:
        Array of shape `(*kernel_size, filters)`.
    """
    half = filters / 2
    result = np.empty((*kernel_size, filters))
    for index in range(filters):
        axis = 0 if index < half else 1
        frequency = index + 1 - axis * half
        size = kernel_size[axis]
        wave = np.cos(np.pi * (np.arange(size) + 0.5) * frequency / size)
        result[:, :, index] = wave[:, None] if axis == 0 else wave
    return result


class OnlineLayer(TermLayer):
    """What the three OREPA layers share: how they build an online kernel."""

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
        scaling="vector",
        kernel_initializer=None,
        **kwargs,
    ):
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            groups,
            activation,
            kernel_initializer=kernel_initializer,
            **kwargs,
        )
        self.scaling = one_of("scaling", scaling, SCALINGS)
        if kernel_initializer is None:
            self.kernel_initializer = keras.initializers.get(
                self.default_initializer()
            )

    def default_initializer(self):
        """The published initializer of the branches."""
        return "he_uniform"

    def make_kernel(self, channels, kernel_size, gains):
        """Creates the sum of the linear branches of one kernel.

        Args:
            channels: Number of input channels.
            kernel_size: Tuple of two integers.
            gains: Dictionary from names of branches to initial gains.
        """
        makers = {
            "origin": lambda: [self.make_conv(self.filters, kernel_size)],
            "average": lambda: [
                self.make_conv(self.filters, 1),
                AveragePool(kernel_size),
            ],
            "prior": lambda: [
                self.make_conv(self.filters, 1),
                FixedFilter(frequency_filters(kernel_size, self.filters)),
            ],
            "point_kxk": lambda: self._make_point_kxk(channels, kernel_size),
            "point": lambda: [self.make_conv(self.filters, 1)],
            "separable": lambda: [
                self.make_conv(
                    EXPANSION * channels, kernel_size, groups=channels
                ),
                self.make_conv(self.filters, 1),
            ],
            "point_point": lambda: self._make_point_point(channels),
        }
        return Sum(
            **{
                name: self.scale(gain, *makers[name]())
                for name, gain in gains.items()
            }
        )

    def scale(self, gain, *terms):
        """Creates a chain of terms, with a trainable gain at its end."""
        if self.scaling != "none":
            initial = keras.initializers.Constant(gain)
            shared = self.scaling == "scalar"
            terms = (*terms, ChannelScale(initial, shared=shared))
        return Chain(*terms)

    def _make_point_kxk(self, channels, kernel_size):
        count = 1 if self.groups <= 4 else 2
        deviation = self.make_conv(
            count * channels, 1, kernel_initializer="zeros"
        )
        identity = Identity() if count == 1 else Repeat(count, self.groups)
        return [
            Sum(deviation=deviation, identity=identity),
            self.make_conv(self.filters, kernel_size),
        ]

    def _make_point_point(self, channels):
        """Two 1×1 convolutions, the square one starting as the identity."""
        square = {"kernel_initializer": _identity}
        if self.filters > channels:
            return [
                self.make_conv(channels, 1, **square),
                self.make_conv(self.filters, 1),
            ]
        return [
            self.make_conv(self.filters, 1),
            self.make_conv(self.filters, 1, **square),
        ]

    def get_config(self):
        return {**super().get_config(), "scaling": self.scaling}


def _identity(shape, dtype=None):
    """Initializer of a 1×1 kernel that keeps every channel."""
    *_, inputs, filters = shape
    eye = np.tile(np.eye(inputs), filters // inputs)
    return keras.ops.convert_to_tensor(eye[None, None], dtype)
