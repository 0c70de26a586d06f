"""A gate for every channel, of the whole image's means."""

import keras
import numpy as np
from keras import layers, ops

from keras_rep.terms import read_numpy


class SqueezeExcite(layers.Layer):
    """Multiplies each channel by a number from 0 to 1.

        y = x · sigmoid(W₂ · relu(W₁ · mean(x) + b₁) + b₂)

    It is not linear, so it stays in the deployed model, as a model of plain
    layers. Hu et al. 2017, arXiv 1709.01507.

    Args:
        hidden: Number of hidden units.
        reserved: Number of channels, the first ones, that have no gate.
        data_format: `"channels_last"` or `"channels_first"`.
    """

    def __init__(self, hidden, reserved, data_format, **kwargs):
        super().__init__(**kwargs)
        self.hidden = hidden
        self.reserved = reserved
        self.data_format = data_format
        self.axis = -1 if data_format == "channels_last" else 1

    def build(self, input_shape):
        self.channels = input_shape[self.axis]
        computed = self.channels - self.reserved
        self.reduce, self.expand = self._make_gate(computed)
        for layer in (self.reduce, self.expand):
            layer.trainable = self.trainable
        self.reduce.build(self._pooled_shape(self.channels))
        self.expand.build(self._pooled_shape(self.hidden))

    def _pooled_shape(self, channels):
        shape = [None, 1, 1, 1]
        shape[self.axis] = channels
        return tuple(shape)

    def _make_gate(self, channels):
        options = {"data_format": self.data_format, "dtype": self.dtype_policy}
        return (
            layers.Conv2D(
                self.hidden, 1, activation="relu", name="reduce", **options
            ),
            layers.Conv2D(
                channels, 1, activation="sigmoid", name="expand", **options
            ),
        )

    def call(self, inputs):
        axes = (1, 2) if self.axis == -1 else (2, 3)
        means = ops.mean(inputs, axes, keepdims=True)
        gate = self.expand(self.reduce(means))
        if self.reserved:
            shape = list(ops.shape(gate))
            shape[self.axis] = self.reserved
            open_gate = ops.ones(shape, dtype=gate.dtype)
            gate = ops.concatenate([open_gate, gate], self.axis)
        return ops.multiply(inputs, gate)

    def multiply_adds(self):
        """Multiply-adds of its two matrix products, for one image."""
        return self.hidden * (2 * self.channels - self.reserved)

    def make_plain(self, name):
        """Creates the model of plain layers."""
        shape = [None, None, None]
        shape[self.axis if self.axis == -1 else 0] = self.channels
        options = {"data_format": self.data_format, "dtype": self.dtype_policy}
        inputs = keras.Input(shape, dtype=self.compute_dtype)
        gate = layers.GlobalAveragePooling2D(keepdims=True, **options)(inputs)
        for layer in self._make_gate(self.channels):
            gate = layer(gate)
        outputs = layers.Multiply(dtype=self.dtype_policy)([inputs, gate])
        return keras.Model(inputs, outputs, name=name, trainable=self.trainable)

    def plain_weights(self):
        """Weights of that model."""
        kernel, bias = (
            read_numpy(v) for v in (self.expand.kernel, self.expand.bias)
        )
        # A gate that stands open: the sigmoid of 100 is 1.
        kernel = np.pad(kernel, [(0, 0), (0, 0), (0, 0), (self.reserved, 0)])
        bias = np.pad(bias, [(self.reserved, 0)], constant_values=100.0)
        reduce = [read_numpy(v) for v in (self.reduce.kernel, self.reduce.bias)]
        return [
            weights.astype(self.variable_dtype)
            for weights in (*reduce, kernel, bias)
        ]
