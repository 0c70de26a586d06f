"""Layers of Keras whose kernels are rounded to 8 bits in every call."""

import keras
from keras import layers, ops

from keras_rep.layers.base import register
from keras_rep.quantize.weights import kernels


class Rounded(layers.Layer):
    """Rounds the kernel, with the straight-through estimator.

    The largest weight of a channel, or of the whole kernel, becomes 127. The
    bias stays as it is: a file has 32 bits for it.

    Args:
        per_tensor: Whether the kernel has one step, instead of one for each
            output channel.
        **kwargs: Arguments of the plain layer.
    """

    def __init__(self, *args, per_tensor=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.per_tensor = per_tensor

    def call(self, inputs):
        # The plain layer reads its variables, and finds these values.
        values = {id(x): (x, ops.convert_to_tensor(x)) for x in self.variables}
        for kernel, axes in kernels(self):
            _, value = values[id(kernel)]
            axes = None if self.per_tensor else axes
            values[id(kernel)] = kernel, _round(value, axes)
        with keras.StatelessScope(state_mapping=list(values.values())):
            return super().call(inputs)

    def get_config(self):
        return {**super().get_config(), "per_tensor": self.per_tensor}


def _round(kernel, axes):
    steps = ops.max(ops.abs(kernel), axes, keepdims=True) / 127.0
    steps = ops.where(steps > 0, steps, ops.ones_like(steps))
    rounded = ops.round(kernel / steps) * steps
    return kernel + ops.stop_gradient(rounded - kernel)


def _rounded(plain):
    """The rounded form of a layer's class."""
    name = f"Rounded{plain.__name__}"
    doc = f"`{plain.__name__}` with a kernel of 8 bits. See `Rounded`."
    return register(type(name, (Rounded, plain), {"__doc__": doc}))


ROUNDED = {
    plain: _rounded(plain)
    for plain in (
        layers.Conv1D,
        layers.Conv2D,
        layers.DepthwiseConv1D,
        layers.DepthwiseConv2D,
        layers.Conv1DTranspose,
        layers.Conv2DTranspose,
        layers.Dense,
    )
}
PLAIN = {rounded: plain for plain, rounded in ROUNDED.items()}
