"""Checks of what a user passes to an exporter, and the model to convert."""

import keras

from keras_rep import graph
from keras_rep.building import build
from keras_rep.deployment import deploy
from keras_rep.program import Program


def check_model(model):
    """Raises `ValueError` if something is not a Keras model."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Cannot export an object of type {type(model).__name__}. "
            f"Received: {model!r}. Expected a `keras.Model`. Wrap a layer in "
            "`keras.Sequential([keras.Input(shape), layer])`."
        )


def check_batch_size(batch_size, *others):
    """Raises `ValueError` if something is not a number of samples.

    Args:
        batch_size: A user's argument.
        *others: What it may be instead.
    """
    is_count = type(batch_size) is int and batch_size > 0
    if not is_count and batch_size not in others:
        allowed = "".join(f", or {other}" for other in others)
        raise ValueError(
            f"Invalid batch size. Received: batch_size={batch_size!r}. "
            f"Expected a positive integer{allowed}. Leave it out if in doubt."
        )


def float32_model(model, *, as_is, verify):
    """The model to convert, in float32: half precision is for training.

    Args:
        model: A built `keras.Model`.
        as_is: Whether it is not to be deployed.
        verify: Whether to compare the deployed model with it.

    Returns:
        A functional or sequential model.

    Raises:
        DeployError: If it cannot be deployed.
    """
    chosen = model if as_is else deploy(model, verify=verify)
    is_float32 = not graph.compute_dtypes(chosen) - {"float32"}
    if is_float32 and graph.is_functional(chosen):
        return chosen
    return build(Program(chosen), dtype="float32")
