"""A residual block as a row of wider convolutions, and what that costs.

The first convolution *reserves* the block's input as additional channels, every
activation lets those pass, and the last convolution *merges* them.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from keras_rep.affine import channel_axis
from keras_rep.layers.reserving import hold_reserved
from keras_rep.linear import layer_weights, make_layer
from keras_rep.residuals import NONE, Step, dirac


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a row of layers takes, for one sample.

    Attributes:
        multiply_adds: Multiply-adds of the convolutions.
        parameters: Number of weights.
        memory_access: Numbers read and written: images and weights.
    """

    multiply_adds: int = 0
    parameters: int = 0
    memory_access: int = 0

    def plus(self, weights, filters, pixels, channels, positions):
        """The cost with one more convolution.

        Args:
            weights: Number of weights of its kernel.
            filters: Number of output channels, each with a bias.
            pixels: Number of pixels of its input.
            channels: Number of input channels.
            positions: Number of pixels of its output.
        """
        images = channels * pixels + filters * positions
        return Cost(
            self.multiply_adds + weights * positions,
            self.parameters + weights + filters,
            self.memory_access + images + weights + filters,
        )

    def growth_to(self, other):
        """How many times the multiply-adds, or parameters, another one has."""
        return max(
            other.multiply_adds / self.multiply_adds,
            other.parameters / self.parameters,
        )

    def compare(self, other):
        """Both costs in words."""
        return ", ".join(
            f"{field.name.replace('_', ' ')} {getattr(self, field.name):,} → "
            f"{getattr(other, field.name):,}"
            for field in dataclasses.fields(self)
        ).replace("multiply adds", "multiply-adds")


@dataclasses.dataclass(frozen=True, eq=False)
class WideStep:
    """One convolution of the row, with the reserved channels beside its own.

    Attributes:
        step: The `Step` that it takes the place of.
        shape: Its `(channels, filters, groups)`.
        kernel: Function that returns its `Kernel`.
        activation: Its activation.
        behind: Pairs of the layers behind it and functions that return their
            weights.
    """

    step: Step
    shape: tuple[int, int, int]
    kernel: Callable
    activation: Any = None
    behind: tuple = ()

    @property
    def weight_count(self):
        channels, filters, groups = self.shape
        taps = math.prod(self.step.linear.kernel_size)
        return taps * channels // groups * filters

    def make_layers(self):
        """Pairs of a layer, not built, and a function for its weights."""
        changes: dict[str, Any] = {
            "activation": self.activation,
            "name": self.step.source.layer.name,
        }
        if self.step.is_point:
            changes |= {
                "kernel_size": (1, 1),
                "strides": (1, 1),
                "dilation_rate": (1, 1),
                "padding": "valid",
            }
        layer = make_layer(self.step.linear.layer, self.shape, **changes)
        fill = lambda: layer_weights(layer, self.kernel())  # noqa: E731
        return [(layer, fill), *self.behind]


def widen(steps, shortcut, input_range):
    """The row of wider convolutions of a residual block.

    Args:
        steps: List of `Step`.
        shortcut: The `Shortcut`.
        input_range: The smallest and the largest value of the block's input.

    Returns:
        A list of `WideStep`.

    Raises:
        Skip: If a kernel has no tap where it is needed.
    """
    reserved = steps[0].linear.channels
    wide, channels = [], reserved
    for index, step in enumerate(steps[:-1]):
        held = hold_reserved(
            step.activation,
            step.linear.layer,
            step.source.layer.name,
            reserved,
            step.linear.filters,
            input_range,
        )
        groups = 1
        if index:
            groups = dirac(reserved).count_groups_beside(
                step.linear.channels, step.linear.filters, step.linear.groups
            )
        filters = reserved + step.linear.filters
        wide.append(
            WideStep(
                step,
                (channels, filters, groups),
                _reserving_kernel(step, reserved, index == 0, held.prepare),
                held.activation,
                tuple(held.pairs),
            )
        )
        channels = filters
    last, added = steps[-1], shortcut.kernel_at(steps)
    wide.append(
        WideStep(
            last,
            (channels, last.linear.filters, 1),
            lambda: added().concat_inputs(last.kernel()),
        )
    )
    return wide


def _reserving_kernel(step, reserved, is_first, prepare):
    place = step.pixel()

    def kernel():
        passing = dirac(reserved).spread(step.linear.kernel_size, *place)
        join = passing.concat if is_first else passing.direct_sum
        return prepare(join(step.kernel()))

    return kernel


def cost_of_block(steps, shortcut):
    """The `Cost` of a residual block with its sum.

    Args:
        steps: List of `Step`.
        shortcut: The `Shortcut`.
    """
    pixels = first = _pixels(steps[0], shortcut.root)
    cost = Cost()
    for step in steps:
        linear, positions = step.linear, _pixels(step, step.source.output)
        cost = cost.plus(
            linear.weight_count,
            linear.filters,
            pixels,
            linear.channels,
            positions,
        )
        pixels = positions
    projection = shortcut.linear
    if projection is not None:
        cost = cost.plus(
            projection.weight_count,
            projection.filters,
            first,
            projection.channels,
            pixels,
        )
    moved = 3 * steps[-1].linear.filters * pixels
    return dataclasses.replace(cost, memory_access=cost.memory_access + moved)


def cost_of_row(wide, shortcut):
    """The `Cost` of a row of wider convolutions.

    Args:
        wide: List of `WideStep`.
        shortcut: The `Shortcut` that they make unnecessary.
    """
    pixels = _pixels(wide[0].step, shortcut.root)
    cost = Cost()
    for each in wide:
        channels, filters, _ = each.shape
        positions = _pixels(each.step, each.step.source.output)
        cost = cost.plus(
            each.weight_count, filters, pixels, channels, positions
        )
        for _ in each.behind:
            # PReLU or a 1×1 depthwise convolution: a number for each channel.
            cost = cost.plus(filters, 0, positions, filters, positions)
        pixels = positions
    return cost


def _pixels(step, tensor):
    """Number of pixels of an image; 1 where its size is not known."""
    sizes = list(tensor.shape[1:])
    del sizes[channel_axis(step.linear.layer, len(tensor.shape)) - 1]
    return 1 if None in sizes else math.prod(sizes)


def describe_activations(steps, input_range):
    """How the activations of a row let the reserved channels pass, in words."""
    forms = [
        step.activation.form(input_range)
        for step in steps
        if step.activation != NONE
    ]
    return ", ".join(dict.fromkeys(forms))
