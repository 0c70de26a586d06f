"""What goes into each convolution of a model, channel by channel."""

import dataclasses
import functools

import keras
import numpy as np

from keras_rep.affine import LINEAR, channel_axis
from keras_rep.inputs import sample_batches
from keras_rep.program import Program

BATCH = 8


@dataclasses.dataclass(frozen=True)
class Channels:
    """Statistics of a layer's input, over all its calls.

    Attributes:
        low: Smallest value of each channel.
        high: Largest value of each channel.
        total: Sum of each channel.
        count: Number of values in each channel.
    """

    low: np.ndarray
    high: np.ndarray
    total: np.ndarray
    count: int

    @classmethod
    def of(cls, array, axis):
        """Of an array with the channels along an axis."""
        values = np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])
        total = values.sum(0, dtype="float64")
        return cls(values.min(0), values.max(0), total, len(values))

    def join(self, other):
        """Of the values of both."""
        return Channels(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.total + other.total,
            self.count + other.count,
        )

    @property
    def mean(self):
        return self.total / self.count


def input_channels(prepared, data):
    """Runs a model on data, and looks at what its convolutions get.

    Args:
        prepared: A prepared model.
        data: Samples, as for `calibrate`.

    Returns:
        Dictionary from the names of convolutions to `Channels`.
    """
    watched: dict[str, list] = {}
    for call in Program(prepared).calls():
        if type(call.layer) in LINEAR:
            watched.setdefault(call.layer.name, []).append(call)
    if not watched:
        return {}
    specs = {
        name: [call.inputs[0].spec for call in calls]
        for name, calls in watched.items()
    }
    probe = keras.Model(prepared.inputs, specs)
    found: dict[str, list] = {name: [] for name in watched}
    for batch in sample_batches(prepared, data, "data", BATCH):
        for name, arrays in probe.predict_on_batch(batch).items():
            parts = found[name]
            for call, array in zip(watched[name], arrays, strict=True):
                axis = channel_axis(call.layer, array.ndim)
                parts.append(Channels.of(array, axis))
            found[name] = [functools.reduce(Channels.join, parts)]
    return {name: parts[0] for name, parts in found.items()}
