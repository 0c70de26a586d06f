"""The array of one convolution behind another, with groups kept apart."""

import functools

import numpy as np

from keras_rep.arrays import namespace


def matrices(kernel):
    """A kernel as an array of shape `(taps, groups, inputs, outputs)`.

    Args:
        kernel: A `keras_rep.kernel.Kernel`.
    """
    array = kernel.kernel
    xp = namespace(array)
    *_, inputs, filters = array.shape
    shape = (-1, inputs, kernel.groups, filters // kernel.groups)
    return xp.transpose(xp.reshape(array, shape), (0, 2, 1, 3))


def convolve_kernels(first, second):
    """The array of `second` after `first`, taps convolved, groups kept apart.

    One of the two numbers of groups divides the other. The matrices of the
    finer one stay as small as they are: there is one product for each of its
    groups, with the taps of both kernels among the rows and columns. (Matrices
    that broadcast would overwrite memory on TensorFlow 2.21.)
    """
    fine, coarse = (f(first.groups, second.groups) for f in (max, min))
    ratio = fine // coarse
    rows, columns = matrices(first), matrices(second)
    xp = namespace(rows)
    taps, _, inputs, _ = rows.shape
    shape = (taps, first.groups, inputs, fine // first.groups, -1)
    rows = xp.transpose(xp.reshape(rows, shape), (1, 3, 0, 2, 4))
    rows = xp.reshape(rows, (fine, taps * inputs, -1))
    more_taps, *_, outputs = columns.shape
    columns = xp.reshape(columns, (more_taps, fine, -1, outputs))
    columns = xp.transpose(columns, (1, 2, 0, 3))
    columns = xp.reshape(columns, (fine, -1, more_taps * outputs))
    product = xp.reshape(
        xp.matmul(rows, columns),
        (coarse, ratio, taps, inputs, more_taps, outputs),
    )
    # The finer groups lie side by side in what the coarser ones read or write.
    inputs_finer = first.groups == fine
    order = (2, 4, 1, 3, 0, 5) if inputs_finer else (2, 4, 3, 0, 1, 5)
    channels = (first.in_channels // coarse, second.filters)
    product = xp.transpose(product, order)
    if taps == 1:
        return xp.reshape(product, (*second.kernel_size, *channels))
    if more_taps == 1:
        return xp.reshape(product, (*first.kernel_size, *channels))
    product = xp.reshape(product, (taps, *second.kernel_size, *channels))
    summands = []
    for index, tap in enumerate(np.ndindex(first.kernel_size)):
        axes = zip(tap, first.kernel_size, strict=True)
        pads = [(t, k - 1 - t) for t, k in axes]
        summands.append(xp.pad(product[index], [*pads, (0, 0), (0, 0)]))
    return functools.reduce(xp.add, summands)
