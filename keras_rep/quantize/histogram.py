"""Counts of values, taken while they stream past."""

import numpy as np

from keras_rep.quantize.scales import Scale

# Bins on each side of zero.
HALF = 2048
# What share of its span a range can lose, in the search for the best one.
CUTS = np.linspace(0.3, 1.0, 71)


class Histogram:
    """A histogram that grows with its values.

    Its bins have a power of two as width, and zero is an edge. So it is the
    same in whatever order the values come, and one pass is enough.

    Attributes:
        low: Smallest value so far, infinite before the first one.
        high: Largest value so far.
    """

    def __init__(self):
        self.low, self.high = np.inf, -np.inf
        self._exponent = None
        self._counts = np.zeros(2 * HALF, "int64")

    def add(self, values):
        """Counts the values of an array."""
        values = np.ravel(values).astype("float32", copy=False)
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high))
        if self._exponent is None:
            self._counts[HALF] += values.size
            return
        # A value on an edge lies in the upper bin, the largest in the last.
        bins = np.floor(np.ldexp(values, -self._exponent)).astype("int64")
        bins = np.clip(bins + HALF, 0, 2 * HALF - 1)
        self._counts += np.bincount(bins, minlength=2 * HALF)

    def percentile(self, share):
        """The range that holds a share of the values on each side.

        Args:
            share: A number up to 1.

        Returns:
            A tuple of two numbers, edges of bins but for the extremes.
        """
        beyond = (1.0 - share) * self._counts.sum()
        kept = np.flatnonzero(
            (np.cumsum(self._counts) > beyond)
            & (np.cumsum(self._counts[::-1])[::-1] > beyond)
        )
        first, last = kept[0] - HALF, kept[-1] + 1 - HALF
        width = self._width
        return max(first * width, self.low), min(last * width, self.high)

    def least_squares(self):
        """The range that integers hold with the smallest mean square error.

        Returns:
            A tuple of two numbers.
        """
        (filled,) = np.nonzero(self._counts)
        counts = self._counts[filled]
        values = (filled - HALF + 0.5) * self._width

        def error(cut):
            scale = Scale.of(self.low * cut, self.high * cut)
            return counts @ np.square(values - scale.rounded(values))

        best = min(CUTS, key=error)
        return self.low * best, self.high * best

    @property
    def _width(self):
        return 0.0 if self._exponent is None else 2.0**self._exponent

    def _widen(self, largest):
        """Makes the bins wide enough for a value."""
        if not largest:
            return
        needed = int(np.frexp(largest)[1]) - HALF.bit_length() + 1
        if self._exponent is None:
            self._exponent = needed
        while self._exponent < needed:
            pairs = self._counts.reshape(-1, 2).sum(1)
            self._counts[:] = 0
            self._counts[HALF // 2 : 3 * HALF // 2] = pairs
            self._exponent += 1
