"""Arrays: the functions that fit them, and room for large ones.

The algebra of kernels is written once, for numpy and for backend tensors.
"""

import functools
import math
import operator
import types

import numpy as np
from keras import ops

FLOAT64 = types.SimpleNamespace(
    add=functools.partial(np.add, dtype="float64"),
    broadcast_to=np.broadcast_to,
    concatenate=np.concatenate,
    eye=np.eye,
    matmul=functools.partial(np.matmul, dtype="float64"),
    multiply=functools.partial(np.multiply, dtype="float64"),
    pad=np.pad,
    reshape=np.reshape,
    sqrt=functools.partial(np.sqrt, dtype="float64"),
    square=functools.partial(np.square, dtype="float64"),
    sum=functools.partial(np.sum, dtype="float64"),
    transpose=np.transpose,
)


TENSORS = types.SimpleNamespace(
    **{
        **{name: getattr(ops, name) for name in vars(FLOAT64)},
        # `keras.ops.matmul` on PyTorch rounds float64 to float32.
        "matmul": operator.matmul,
    }
)


def namespace(array):
    """The functions for an array: those of numpy in float64, or `keras.ops`."""
    return FLOAT64 if isinstance(array, np.ndarray) else TENSORS


def aligned_zeros(shape, dtype):
    """An array that JAX takes over without a copy: aligned to 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = np.zeros(size + 64, "uint8")
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size].view(dtype).reshape(shape)
