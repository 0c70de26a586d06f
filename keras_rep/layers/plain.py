"""The plain Keras layers that compute one sampled convolution."""

import dataclasses
from typing import Any

import keras

from keras_rep.grid import Grid, effective_size
from keras_rep.layers.base import RepLayer


@dataclasses.dataclass(frozen=True)
class PlainConv:
    """A convolution of plain layers: explicit zeros if need be, then one layer.

    Args:
        grid: `Grid` that it samples.
        channels: Number of input channels.
        filters: Number of output channels.
        groups: Number of channel groups.
        activation: Activation of the convolution.
        origin: Layer that it stands for, from which it takes the data format,
            the dtype policy and so on.
    """

    grid: Grid
    channels: int
    filters: int
    groups: int
    activation: Any
    origin: RepLayer

    @property
    def is_depthwise(self):
        """Whether the convolution is a `DepthwiseConv2D`.

        One with different strides per axis is not: TensorFlow has no such
        depthwise convolution, but it has the grouped one.
        """
        rows, columns = self.grid.strides
        return self.groups == self.channels > 1 and rows == columns

    @property
    def is_padded_explicitly(self):
        """Whether a `ZeroPadding2D` stands before the convolution.

        Centered padding equals `"same"` for every image size only where the
        stride is 1 and the kernel spans an odd number of pixels.
        """
        grid = self.grid
        axes = zip(
            grid.kernel_size, grid.strides, grid.dilation_rate, strict=True
        )
        return grid.padding == "centered" and any(
            effective_size(k, d) > 1
            and (s > 1 or effective_size(k, d) % 2 == 0)
            for k, s, d in axes
        )

    def make_layers(self, name):
        """Creates the layers, not built, the last one of the given name."""
        grid, common = self.grid, plain_options(self.origin)
        options = {
            **common,
            "strides": grid.strides,
            "dilation_rate": grid.dilation_rate,
            "activation": self.activation,
            "activity_regularizer": self.origin.activity_regularizer,
            "trainable": self.origin.trainable,
            "name": name,
            "padding": "same" if grid.padding == "centered" else grid.padding,
        }
        layers = []
        if self.is_padded_explicitly:
            options["padding"] = "valid"
            pads = tuple(grid.pads((None, None)))
            layers.append(
                keras.layers.ZeroPadding2D(pads, name=f"{name}_pad", **common)
            )
        if self.is_depthwise:
            multiplier = self.filters // self.channels
            return [
                *layers,
                keras.layers.DepthwiseConv2D(
                    grid.kernel_size, depth_multiplier=multiplier, **options
                ),
            ]
        return [
            *layers,
            keras.layers.Conv2D(
                self.filters, grid.kernel_size, groups=self.groups, **options
            ),
        ]

    def weights(self, kernel):
        """Weights of the layers, from the `Kernel` of the convolution."""
        single = self.origin.variable_dtype != "float64"
        dtype = "float32" if single else "float64"
        weights = [kernel.to_numpy(dtype), kernel.bias.astype(dtype)]
        if self.is_depthwise:
            size = (*self.grid.kernel_size, self.channels, -1)
            weights[0] = weights[0].reshape(size)
        return [[], weights] if self.is_padded_explicitly else [weights]


def plain_options(layer):
    """What every plain layer takes over from the layer it stands for."""
    return {"data_format": layer.data_format, "dtype": layer.dtype_policy}
