"""What goes into each convolution of a model, channel by channel."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_rep.affine import LINEAR, channel_axis
from keras_rep.inputs import sample_batches
from keras_rep.program import Program

BATCH = 8


@dataclasses.dataclass
class Channels:
    """Statistics of a layer's input, over all its calls.

    Attributes:
        low: Smallest value of each channel.
        high: Largest value of each channel.
        mean: Mean of each channel.
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray


def input_channels(prepared, data):
    """Runs a model on data, and looks at what its convolutions get.

    Args:
        prepared: A prepared model.
        data: Samples, as for `calibrate`.

    Returns:
        Dictionary from the names of convolutions to `Channels`.
    """
    program = Program(prepared)
    watched: dict[str, list] = {}
    for call in program.calls():
        if type(call.layer) in LINEAR:
            spec = call.inputs[0].spec
            axis = channel_axis(call.layer, len(spec.shape))
            watched.setdefault(call.layer.name, []).append(_reduced(spec, axis))
    if not watched:
        return {}
    probe = keras.Model(prepared.inputs, watched)
    sums: dict[str, list] = {name: [] for name in watched}
    for batch in sample_batches(prepared, data, "data", BATCH):
        for name, calls in probe.predict_on_batch(batch).items():
            for low, high, mean in calls:
                total = mean.sum(0, dtype="float64")
                sums[name].append((low.min(0), high.max(0), total, len(mean)))
    return {name: _joined(rows) for name, rows in sums.items()}


def _reduced(tensor, axis):
    """Three tensors of shape `(samples, channels)`."""
    others = [i for i in range(1, len(tensor.shape)) if i != axis]
    if not others:
        return [tensor, tensor, tensor]
    return [f(tensor, axis=others) for f in (ops.min, ops.max, ops.mean)]


def _joined(rows):
    lows, highs, totals, counts = zip(*rows, strict=True)
    mean = np.sum(totals, 0) / np.sum(counts)
    return Channels(np.min(lows, 0), np.max(highs, 0), mean)
