"""The summands of a kernel, and where their taps lie.

A `Kernel` is kept as a sum of parts, so that folding normalizations and adding
branches never touch the large arrays.
"""

import dataclasses
import operator
from typing import Any

from keras_rep.arrays import FLOAT64, namespace


def centre_tap(kernel_size):
    """Index of a kernel's centre, per axis; the left one of two if even."""
    return tuple((k - 1) // 2 for k in kernel_size)


def tap_offset(outer, inner):
    """First tap that a kernel of size `inner` takes in one of size `outer`.

    The centres coincide. This, and not `(outer - inner) // 2`, is where a
    `"same"` convolution with the smaller kernel samples when one of the two
    sizes is even.
    """
    return tuple(
        a - b for a, b in zip(centre_tap(outer), centre_tap(inner), strict=True)
    )


@dataclasses.dataclass(frozen=True)
class Part:
    """One summand of a kernel.

    Attributes:
        weights: Array of shape `(*size, in_channels // groups, filters)`.
        gain: Array of shape `(filters,)` that multiplies it, or `None`.
        offset: The tap of the whole kernel on which its first tap falls.
    """

    weights: Any
    gain: Any
    offset: tuple[int, ...]

    @property
    def size(self):
        return tuple(self.weights.shape[:-2])

    def scale(self, gain):
        """The part times one more gain per output channel."""
        if self.gain is not None:
            gain = namespace(gain).multiply(self.gain, gain)
        return dataclasses.replace(self, gain=gain)

    def shift(self, taps):
        """The part further inside of a larger kernel."""
        offset = tuple(map(operator.add, self.offset, taps))
        return dataclasses.replace(self, offset=offset)

    def tap(self, index):
        """What the part adds to one tap of the kernel, in float64 numpy.

        Returns:
            An array, or `None` where the part does not reach.
        """
        place = tuple(map(operator.sub, index, self.offset))
        axes = zip(place, self.size, strict=True)
        if not all(0 <= position < size for position, size in axes):
            return None
        gain = 1.0 if self.gain is None else self.gain
        return FLOAT64.multiply(self.weights[place], gain)

    def spread(self, kernel_size):
        """The part as a backend tensor of the whole kernel's size."""
        xp, weights = namespace(self.weights), self.weights
        if self.gain is not None:
            weights = xp.multiply(weights, self.gain)
        if self.size != kernel_size:
            axes = zip(kernel_size, self.size, self.offset, strict=True)
            pads = [(first, k - n - first) for k, n, first in axes]
            weights = xp.pad(weights, [*pads, (0, 0), (0, 0)])
        return weights

    def regroup(self, old, new):
        """The part of `old` groups written for `new`, fewer groups."""
        xp = namespace(self.weights)
        ratio = old // new
        *size, inputs, filters = self.weights.shape
        fine = xp.reshape(
            self.weights, (*size, 1, inputs, new, ratio, filters // old)
        )
        diagonal = xp.reshape(
            xp.eye(ratio, dtype=self.weights.dtype), (ratio, 1, 1, ratio, 1)
        )
        weights = xp.reshape(
            xp.multiply(fine, diagonal), (*size, ratio * inputs, filters)
        )
        return dataclasses.replace(self, weights=weights)

    def place(self, inputs, filters):
        """The part among more channels, as `Kernel.place` says."""
        xp = namespace(self.weights)
        pads = [(0, 0)] * len(self.size)
        gain = self.gain
        if gain is not None:
            gain = xp.pad(gain, [filters])
        return dataclasses.replace(
            self,
            weights=xp.pad(self.weights, [*pads, inputs, filters]),
            gain=gain,
        )
