"""The kernels that an integer file rounds, and along which axes."""

import keras
from keras import layers

from keras_rep.affine import DEPTHWISE, PLAIN, TRANSPOSED
from keras_rep.quantize.scales import round_weights


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


def rounded_kernels(model, per_tensor, float_layers):
    """The kernels of a prepared model, as a file holds them.

    Args:
        model: The model.
        per_tensor: Whether each kernel has one scale.
        float_layers: Names of the layers whose weights stay as they are.

    Returns:
        Dictionary from the ids of variables to float32 arrays.
    """
    rounded = {}
    for layer in model.layers:
        if layer.name in float_layers:
            continue
        for kernel, axes in kernels(layer):
            value = keras.ops.convert_to_numpy(kernel)
            axes = tuple(range(value.ndim)) if per_tensor else axes
            rounded[id(kernel)] = round_weights(value, axes).astype("float32")
    return rounded
