"""Which kernels one scale does not fit, and why."""

import dataclasses

import keras
import numpy as np

from keras_rep import graph
from keras_rep.layers.term_layer import TermLayer
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.weights import kernels
from keras_rep.terms import Norm, Sum, read_numpy


@dataclasses.dataclass(frozen=True)
class KernelHealth:
    """How well one scale would fit the kernel of a layer.

    Attributes:
        name: Name of the layer in the deployed model.
        spread: Largest weight of all channels, relative to that of the median
            channel. One scale leaves such a channel 127 / `spread` steps.
        identity_gain: Largest gain of the layer's identity branch, γ/√(σ²+ε),
            before it was deployed; `None` if there is no such branch.
    """

    name: str
    spread: float
    identity_gain: float | None


def kernel_health(model):
    """Looks at the kernels of a model's deployed form.

    In a healthy net the spread is below 10. An identity branch behind a
    channel that is always zero has a gain of hundreds, and so has the spread:
    this is how RepVGG collapses in int8, and what `repair` mends.

    Args:
        model: A built `keras.Model`, deployed or not.

    Returns:
        Tuple of `KernelHealth`, in the order of the layers.

    Raises:
        ValueError: If the model is no Keras model.
        DeployError: If the model cannot be deployed.

    Example:
    ```python
    for each in keras_rep.quantize.kernel_health(model):
        print(each.name, each.spread, each.identity_gain)
    ```
    """
    gains = {
        layer.name: _identity_gain(layer) for layer in graph.sublayers(model)
    }
    return tuple(
        KernelHealth(layer.name, _spread(kernel, axes), gains.get(layer.name))
        for layer in prepare(model).layers
        for kernel, axes in kernels(layer)
    )


def _spread(kernel, axes):
    largest = np.abs(keras.ops.convert_to_numpy(kernel)).max(axes).ravel()
    middle = float(np.median(largest))
    return float(largest.max()) / middle if middle else float("inf")


def _identity_gain(layer):
    if not isinstance(layer, TermLayer) or not isinstance(layer.branches, Sum):
        return None
    gains = [
        float(np.abs(branch.affine(read_numpy)[0]).max())
        for branch in layer.branches.branches()
        if isinstance(branch, Norm)
    ]
    return max(gains, default=None)
