"""How far what was received is from what was expected, as numbers."""

import math

import numpy as np


def max_rel_error(expected, received):
    """Largest difference relative to the largest absolute expected value."""
    error = max_abs_error(expected, received)
    scale = float(np.abs(expected).max(initial=0.0))
    return error / scale if scale else error


def max_abs_error(expected, received):
    """Largest absolute difference."""
    return float(np.abs(expected - received).max(initial=0.0))


def snr_db(expected, received):
    """Signal-to-noise ratio in decibels; infinite if there is no noise."""
    signal = np.square(expected, dtype="float64").sum()
    noise = np.square(expected - received, dtype="float64").sum()
    if not noise:
        return math.inf
    return float(10 * np.log10(signal / noise)) if signal else -math.inf


def cosine(expected, received):
    """Cosine of the angle between two arrays, taken as vectors."""
    x, y = (np.ravel(a).astype("float64") for a in (expected, received))
    lengths = np.linalg.norm(x) * np.linalg.norm(y)
    if not lengths:
        # Nothing but zeros points the way of nothing else.
        return float(not x.any() and not y.any())
    return float(x @ y / lengths)


def agreement(expected, received):
    """Share of places whose largest value along the last axis is the same."""
    return float(np.mean(expected.argmax(-1) == received.argmax(-1)))
