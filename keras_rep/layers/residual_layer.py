"""Residual blocks that deploy to a straight row of convolutions.

The operation of RMNet: the first convolution *reserves* the block's input as
additional channels, every activation lets those pass, and the last convolution
*merges* them. So nothing is left to add, exactly, in inference mode.
"""

import dataclasses
import functools
import math

import numpy as np
from keras import ops

from keras_rep.grid import Grid
from keras_rep.kernel import Kernel
from keras_rep.layers.base import UNLIMITED
from keras_rep.layers.conv_layer import ConvLayer
from keras_rep.layers.plain import PlainConv
from keras_rep.layers.reserving import Activation, hold_reserved
from keras_rep.terms import Chain
from keras_rep.window import Window


@dataclasses.dataclass(frozen=True)
class Stage:
    """One convolution of a residual block.

    Args:
        name: Name of the convolution; the weights are saved under it.
        filters: Number of output channels.
        grid: `Grid` that it samples.
        groups: Number of channel groups.
    """

    name: str
    filters: int
    grid: Grid
    groups: int = 1


class ResidualLayer(ConvLayer):
    """A residual block in training, a row of plain convolutions deployed.

    A subclass overrides `make_stages`. Each stage is a convolution and a
    normalization, with the activation between stages; then the input is
    added, through a normalized 1×1 convolution where the shapes differ.
    """

    refuses_squeeze_excite = (
        "its gate depends on the image, so the convolution before the sum and "
        "the input cannot be merged"
    )
    # Whether an input of another shape is projected, or nothing is added.
    has_projection = True
    # Whether the activation follows the sum as well.
    activates_output = True

    def make_stages(self, channels):
        """Lists the convolutions.

        Args:
            channels: Number of input channels.

        Returns:
            A list of at least two `Stage` objects, the last one with
            `self.filters` filters.
        """
        raise NotImplementedError

    def stage_grid(self, kernel_size=(1, 1), strides=(1, 1)):
        """The `Grid` of a stage, with this layer's padding."""
        dilation = self.dilation_rate if kernel_size != (1, 1) else (1, 1)
        return Grid(tuple(kernel_size), strides, dilation, self.padding)

    def build(self, input_shape):
        self.channels = channels = self.count_channels(input_shape)
        self.reserving = Activation.of(self.activation)
        self.stages = self.make_stages(channels)
        for stage in self.stages:
            conv = self._make_conv(
                stage.filters, stage.grid.kernel_size, stage.groups
            )
            self._add(stage.name, conv, channels)
            channels = stage.filters
        preserves = self.channels == self.filters and all(
            stage.grid.strides == (1, 1) for stage in self.stages
        )
        self.projection = None
        if not preserves and self.has_projection:
            projection = self._make_conv(self.filters, 1, 1)
            self._add("projection", projection, self.channels)
        self.has_shortcut = preserves or self.projection is not None

    def _make_conv(self, filters, kernel_size, groups):
        conv = self.make_conv(filters, kernel_size, groups=groups)
        return Chain(conv, self.make_norm())

    def _add(self, name, term, channels):
        term.name = name
        term.dtype_policy = self.dtype_policy
        term.trainable = self.trainable
        setattr(self, name, term)
        term.build((None, None, None, channels))

    def call(self, inputs, training=None):
        outputs = inputs
        for stage in self.stages:
            if stage is not self.stages[0]:
                outputs = self.activation(outputs)
            outputs = self._apply(stage.name, outputs, stage.grid, training)
        if self.has_shortcut:
            outputs = ops.add(outputs, self._shortcut(inputs, training))
        return self.activation(outputs) if self.activates_output else outputs

    def _apply(self, name, inputs, grid, training):
        window = Window(inputs, None, self.data_format)
        outputs = getattr(self, name).apply(window, grid, training).values()
        return ops.cast(outputs, self.compute_dtype)

    def _shortcut(self, inputs, training):
        """The pixels that the stages' centre taps read, projected."""
        for stage in self.stages:
            window = Window(inputs, None, self.data_format)
            inputs = window.sample(stage.grid).signal
        if self.projection is None:
            return inputs
        return self._apply("projection", inputs, Grid((1, 1)), training)

    def make_deploy_layers(self, input_range=UNLIMITED):
        return [layer for layer, _ in self._plain_layers(input_range)]

    def get_deploy_weights(self, input_range=UNLIMITED):
        return [weights() for _, weights in self._plain_layers(input_range)]

    def remark(self, input_range=UNLIMITED):
        if not self.has_shortcut:
            return "nothing was added in it, so nothing is reserved"
        form = self.reserving.form(input_range)
        return f"{self.channels} channels reserved for the residual, {form}"

    def _plain_layers(self, input_range):
        """Pairs of a plain layer and a function that gives its weights."""
        reserved = self.channels if self.has_shortcut else 0
        channels = self.channels
        pairs = []
        for index, stage in enumerate(self.stages[:-1]):
            name = f"{self.name}_{stage.name}"
            held = hold_reserved(
                self.reserving,
                self,
                name,
                reserved,
                stage.filters,
                input_range,
            )
            plain = PlainConv(
                stage.grid,
                channels,
                stage.filters + reserved,
                self._deployed_groups(index, reserved),
                held.activation,
                self,
            )
            kernel = functools.partial(self._reserving_kernel, index, held)
            pairs += _with_weights(plain, name, kernel) + held.pairs
            channels = stage.filters + reserved
        plain = PlainConv(
            self.stages[-1].grid,
            channels,
            self.filters,
            1 if reserved else self.stages[-1].groups,
            self.activation if self.activates_output else None,
            self,
        )
        return pairs + _with_weights(plain, self.name, self._merging_kernel)

    def _deployed_groups(self, index, reserved):
        """Groups of a stage that has the reserved channels beside its own."""
        stage = self.stages[index]
        if not reserved:
            return stage.groups
        if index == 0:
            return 1
        dirac = self._dirac(stage.grid.kernel_size)
        inputs = self.stages[index - 1].filters
        return dirac.count_groups_beside(inputs, stage.filters, stage.groups)

    def _dirac(self, size):
        """The kernel that keeps every channel of the block's input."""
        ones, zeros = np.ones(self.channels), np.zeros(self.channels)
        return Kernel.diagonal(ones, zeros).embed(size)

    def _reserving_kernel(self, index, held):
        stage = self.stages[index]
        kernel = getattr(self, stage.name).to_kernel()
        kernel = kernel.embed(stage.grid.kernel_size)
        if self.has_shortcut:
            dirac = self._dirac(stage.grid.kernel_size)
            join = dirac.concat if index == 0 else dirac.direct_sum
            kernel = join(kernel)
        return held.prepare(kernel)

    def _merging_kernel(self):
        stage = self.stages[-1]
        kernel = getattr(self, stage.name).to_kernel()
        if not self.has_shortcut:
            return kernel
        shortcut = self._dirac((1, 1))
        if self.projection is not None:
            shortcut = self.projection.to_kernel()
        return shortcut.concat_inputs(kernel)

    def multiply_adds(self, input_shape):
        axes = slice(1, 3) if self.channels_last else slice(2, 4)
        sizes = input_shape[axes]
        if None in sizes:
            return None
        total = 0
        for stage in self.stages:
            pixels = math.prod(sizes)
            sizes = stage.grid.output_sizes(sizes)
            term = getattr(self, stage.name)
            total += term.multiply_adds(pixels, math.prod(sizes))
        if self.projection is not None:
            outputs = math.prod(sizes)
            total += self.projection.multiply_adds(outputs, outputs)
        return total

    def compute_output_shape(self, input_shape):
        axes = slice(1, 3) if self.channels_last else slice(2, 4)
        sizes = input_shape[axes]
        channels = input_shape[-1 if self.channels_last else 1]
        for stage in self.make_stages(channels):
            sizes = stage.grid.output_sizes(sizes)
        if self.channels_last:
            return (input_shape[0], *sizes, self.filters)
        return (input_shape[0], self.filters, *sizes)


def _with_weights(plain, name, make_kernel):
    """The layers of a `PlainConv`, each with a function for its weights."""
    weights = functools.cache(lambda: plain.weights(make_kernel()))
    return [
        (layer, lambda index=index: weights()[index])
        for index, layer in enumerate(plain.make_layers(name))
    ]
