"""Integers and the real numbers that they stand for."""

import dataclasses
import math

import numpy as np

# Below it, the step would not be a float32 number of full precision.
SMALLEST_RANGE = 1e-30


@dataclasses.dataclass(frozen=True)
class Scale:
    """The real numbers `(integer - zero_point) * step` of a tensor.

    Attributes:
        step: Distance of neighbouring numbers.
        zero_point: The integer that stands for zero.
        bits: 8, or 16 for numbers that are symmetric around zero.
    """

    step: float
    zero_point: int
    bits: int = 8

    @classmethod
    def of(cls, low, high, bits=8):
        """The `Scale` that holds a range, and zero.

        The bounds move by up to half a step, so that zero is one of the
        numbers; TFLite demands it.

        Args:
            low: Smallest real number.
            high: Largest real number.
            bits: 8 or 16.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        if high - low < SMALLEST_RANGE:
            # Nothing but zeros; any step will do.
            low, high = 0.0, 1.0
        if bits == 16:
            return cls(max(-low, high) / 32767, 0, bits)
        step = (high - low) / 255
        return cls(step, round(-low / step) - 128, bits)

    @property
    def smallest_integer(self):
        return -128 if self.bits == 8 else -32767

    @property
    def largest_integer(self):
        return 2 ** (self.bits - 1) - 1

    @property
    def bounds(self):
        """The smallest and the largest real number."""
        integers = self.smallest_integer, self.largest_integer
        return tuple(self.step * (i - self.zero_point) for i in integers)

    def integers(self, values):
        """The nearest integers, as floating-point numbers.

        Args:
            values: Array of real numbers.
        """
        grid = np.round(np.asarray(values, "float64") / self.step)
        return np.clip(
            grid + self.zero_point, self.smallest_integer, self.largest_integer
        )

    def rounded(self, values):
        """The nearest real numbers that the integers stand for.

        Args:
            values: Array of real numbers.
        """
        return (self.integers(values) - self.zero_point) * self.step


def coarse(low, high):
    """A range moved outwards to numbers with few digits.

    Backends add up in different orders, which changes the last of seven
    digits of what they find. Its bounds become multiples of 1/128 of a power
    of two, so that they find the same.

    Args:
        low: Lower bound.
        high: Upper bound.

    Returns:
        A tuple of two numbers.
    """
    return -_upwards(-low), _upwards(high)


def _upwards(value):
    if not value or not math.isfinite(value):
        return float(value)
    fraction, exponent = math.frexp(value)
    # Rounding noise must not lift what lies on a multiple to the next one.
    steps = math.ceil(fraction * 128 - 1e-3)
    return math.ldexp(steps / 128, exponent)


def weight_steps(kernel, axes):
    """The step of each output channel of a kernel: its largest value is 127.

    Args:
        kernel: Array.
        axes: Axes of the kernel that share a step.

    Returns:
        Array with these axes kept; 0 where all weights are.
    """
    return np.abs(kernel).max(axes, keepdims=True) / 127


def round_weights(kernel, axes):
    """A kernel of integers times the step of their channel.

    Args:
        kernel: Array.
        axes: Axes of the kernel that share a step.

    Returns:
        Float64 array.
    """
    kernel = np.asarray(kernel, "float64")
    steps = weight_steps(kernel, axes)
    safe = np.where(steps, steps, 1.0)
    return np.clip(np.round(kernel / safe), -127, 127) * steps
