"""Samples in batches of the size that a file takes."""

import numpy as np


def batches(samples, size):
    """Yields the samples in batches; the last one is filled up.

    Args:
        samples: Dictionary from the names of inputs to arrays, with samples
            along the first axis.
        size: Number of samples in a batch.
    """
    count = len(next(iter(samples.values())))
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        yield {name: array[rows] for name, array in samples.items()}


def joined(rows, samples):
    """Puts what came of each batch together.

    Args:
        rows: List of dictionaries from names to arrays.
        samples: The samples that they came of.

    Returns:
        One dictionary, without what came of filling up.
    """
    count = len(next(iter(samples.values())))
    return {
        name: np.concatenate([row[name] for row in rows])[:count]
        for name in rows[0]
    }
