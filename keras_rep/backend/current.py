"""The backend that Keras is configured for, and what it is good at."""

import functools

import keras

BACKEND = keras.backend.backend()

# Whether the 1×1 branches of a block train as one matrix product, with the
# batch statistics of `moments.py`. XLA's reductions over images are slow; the
# native normalizations of the other two backends are not.
MERGES_POINTWISE = BACKEND == "jax"


@functools.cache
def has_slow_groups():
    """Whether grouped convolutions are XLA's, on a CPU."""
    if BACKEND == "jax":
        import jax

        return jax.default_backend() == "cpu"
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return not tf.config.list_physical_devices("GPU")
    return False
