"""The kernels that an integer file rounds, and how."""

from keras import layers

from keras_rep.affine import DEPTHWISE, PLAIN, TRANSPOSED


def kernels(layer):
    """The kernels of a layer that become integers.

    Args:
        layer: A built layer.

    Returns:
        List of pairs: a variable, and the axes of it that share a step where
        each output channel has its own.
    """
    kind = type(layer)
    if kind is layers.Dense:
        axes = (0,)
    elif kind in DEPTHWISE:
        axes = tuple(range(len(layer.kernel.shape) - 2))
    elif kind in PLAIN:
        axes = tuple(range(len(layer.kernel.shape) - 1))
    elif kind in TRANSPOSED:
        *taps, _, inputs = range(len(layer.kernel.shape))
        axes = (*taps, inputs)
    else:
        return []
    return [(layer.kernel, axes)]
