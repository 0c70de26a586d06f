"""The kernels that an integer file rounds, and along which axes."""

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
    if not isinstance(layer, (layers.Dense, *DEPTHWISE, *PLAIN, *TRANSPOSED)):
        return []
    axes = tuple(range(len(layer.kernel.shape)))
    if isinstance(layer, DEPTHWISE):
        return [(layer.kernel, axes[:-2])]
    if isinstance(layer, TRANSPOSED):
        return [(layer.kernel, (*axes[:-2], axes[-1]))]
    return [(layer.kernel, axes[:-1])]
