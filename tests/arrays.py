"""Values for variables and out of tensors."""

import keras
import numpy as np
from keras import ops


def array(value):
    """A variable or tensor as numpy."""
    return ops.convert_to_numpy(ops.convert_to_tensor(value))


def run(layer, x):
    """A layer's outputs in inference mode, as numpy.

    In one piece on JAX, which would compile every operation by itself.
    """
    if keras.backend.backend() != "jax":
        return array(layer(x, training=False))
    import jax

    def call(values, x):
        pairs = zip(layer.variables, values, strict=True)
        with keras.StatelessScope(state_mapping=list(pairs)):
            return layer(x, training=False)

    values = [variable.value for variable in layer.variables]
    return array(jax.jit(call)(values, x))


def gradient_of(function, x):
    """The gradient of a sum of outputs with respect to the input."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: ops.sum(function(x)))(x))
    if backend == "torch":
        import torch

        x = torch.tensor(x, requires_grad=True)
        ops.sum(function(x)).backward()
        return x.grad.numpy()
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = ops.sum(function(x))
    return tape.gradient(total, x).numpy()


def randomize(layer, seed=0):
    """Gives every variable a value that would show a mistake.

    Fresh normalizations hide wrong biases, signs and paddings. Gammas come
    out negative as often as positive.
    """
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        shape = variable.shape
        if "variance" in variable.name:
            value = rng.uniform(0.3, 2.0, shape)
        elif "kernel" in variable.name:
            fan_in = max(int(np.prod(shape[:-1])), 1)
            value = rng.normal(size=shape) / np.sqrt(fan_in)
        else:
            value = rng.normal(size=shape)
        variable.assign(value.astype("float32"))


def weights_by_path(layer):
    """Float64 arrays by the part of the path behind the layer's term."""
    return {
        variable.path.partition("/branches/")[2]: array(variable).astype(
            "float64"
        )
        for variable in layer.weights
    }
