"""Copies of single layers, and layers built with weights that are given."""

import contextlib
import inspect
import typing

import keras
import numpy as np
from keras import ops

from keras_rep import graph
from keras_rep.errors import DeployError


def config_of(operation):
    """The configuration of a layer or operation, functions as they are.

    Serialized, a user's own function would only be a name.
    """
    config = operation.get_config()
    for name, value in vars(operation).items():
        if name in config and inspect.isfunction(value):
            config[name] = value
    return config


def copy_operation(operation, dtype=None):
    """A new layer or operation of the same configuration, without weights.

    Args:
        operation: The original layer or operation.
        dtype: Dtype policy of the new layer, unless it computes integers.

    Raises:
        DeployError: If its class does not restore it from its configuration.
    """
    try:
        config = config_of(operation)
        if dtype and "float" in getattr(operation, "compute_dtype", ""):
            config["dtype"] = dtype
        return type(operation).from_config(config)
    except Exception as error:
        raise DeployError(
            f"Cannot copy layer '{operation.name}' (of type "
            f"{type(operation).__name__}). Received from its configuration: "
            f"{type(error).__name__}: {error}. Expected `get_config` to return "
            "every argument of `__init__`. Implement it in the layer's class."
        ) from error


def copy_weights(old, new):
    """Copies weights the way saving does, so that layers can react to them."""
    pairs = zip(graph.sublayers(old), graph.sublayers(new), strict=True)
    for source, target in pairs:
        store: dict[str, typing.Any] = {}
        source.save_own_variables(store)
        if store:
            # Real copies, because JAX's trainer gives away a model's arrays.
            values = {
                key: np.array(ops.convert_to_numpy(value))
                for key, value in store.items()
            }
            target.load_own_variables(values)


def zero_values(layer):
    """Lets a layer that gets its weights afterwards be built with zeros.

    Drawing the initial values of a large model takes longer than deploying it.

    Args:
        layer: A layer that is not built.

    Returns:
        A context manager.
    """
    return _initializers(layer, keras.initializers.Zeros())


def given_values(layer, weights):
    """Lets a layer be built with the given weights, without another copy.

    Args:
        layer: A layer that is not built.
        weights: List of arrays, in the order in which the layer creates its
            variables. They are rounded to the precision of these.

    Returns:
        A context manager.
    """
    remaining = iter(weights)

    def take(shape, dtype):
        value = next(remaining)
        if value.shape != tuple(shape):
            raise ValueError(
                f"Weights do not fit layer '{layer.name}'. Received: an array "
                f"of shape {value.shape}. Expected shape {tuple(shape)}. Give "
                "the weights in the order of `layer.weights`."
            )
        # Rounded by numpy, the same way for every backend.
        if dtype in ("float32", "float64"):
            value = value.astype(dtype, copy=False)
        return ops.convert_to_tensor(value, dtype=dtype)

    return _initializers(layer, take)


@contextlib.contextmanager
def _initializers(layer, initializer):
    swapped = {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, keras.initializers.Initializer)
    }
    for name in swapped:
        setattr(layer, name, initializer)
    try:
        yield
    finally:
        for name, value in swapped.items():
            setattr(layer, name, value)
