"""What the tests of all networks do: make a small one, train it, deploy it."""

import keras
import numpy as np
import pytest
from arrays import array, randomize, run
from rewriting_helpers import inputs_like
from test_layers import assert_close

import keras_rep
from keras_rep.graph import contains, sublayers
from keras_rep.layers import RepLayer

# Rounding of some dozen layers in a row, which grows with its root.
TOLERANCE = 5e-6

# PyTorch compiles nothing: it makes a large network in a moment.
is_fast = keras.backend.backend() == "torch"


def full_size(test):
    """Marks a test of a large network."""
    return test if is_fast else pytest.mark.exhaustive(test)


def quick(names, chosen):
    """Names as parameters of a test; only the chosen ones are for every day."""
    return [
        name
        if is_fast or name in chosen
        else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in names
    ]


def trainable(model):
    """Number of trainable parameters."""
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def kinds(model):
    return {type(layer).__name__ for layer in model.layers}


def deployed(model):
    """The deployed form, of weights that show mistakes."""
    randomize(model)
    return keras_rep.deploy(model, verify=False)


def settle(model, x):
    """Gives statistics of real images, and activations of which most are alive.

    Gains below 1 keep a row of random layers from being chaotic: else it
    multiplies what was rounded off in front of it.
    """
    rng = np.random.default_rng(0)
    ranges = {
        "gamma": (0.2, 0.6),
        "beta": (-0.2, 0.6),
        "bias": (-0.2, 0.6),
        # Else the few hidden units of a gate may all be dead, and XNNPACK
        # refuses to scale what is always zero.
        "reduce/bias": (1.5, 2.5),
    }
    for variable in model.variables:
        if variable.path.endswith("kernel"):
            # Not the initial ones, which are others on every backend.
            width = (3 / np.prod(variable.shape[:-1])) ** 0.5
            if variable.path.endswith("reduce/kernel"):
                # Steep gates turn rounding into more, from block to block.
                width /= 10
            value = rng.uniform(-width, width, variable.shape)
            variable.assign(value.astype("float32"))
        for end, (low, high) in ranges.items():
            if variable.path.endswith(end):
                value = rng.uniform(low, high, variable.shape)
                variable.assign(value.astype("float32"))
    for layer in sublayers(model):
        if hasattr(layer, "momentum"):
            layer.momentum = 0.0
    model(x, training=True)


def images(model, size=None, count=2):
    """Random images of a model's own size, or of another."""
    *own, channels = model.input_shape[1:]
    return inputs_like(*(size or own), channels, count=count)


def assert_trains(model, loss):
    """A step has a finite loss and moves the statistics of every BN.

    The gradient gets from one end to the other.
    """
    first = model.trainable_variables[0]
    moving = [v for v in model.variables if "moving" in v.path]
    before = [np.array(array(v)) for v in (first, *moving)]
    model.compile(keras.optimizers.SGD(0.01), loss)
    # Of two numbers, a normalization makes the same ones whatever they are.
    x = images(model, count=4)

    labels = np.arange(4)
    if isinstance(loss, dict):
        labels = dict.fromkeys(loss, labels)
    value = model.train_on_batch(x, x if loss == "mse" else labels)

    assert np.isfinite(np.asarray(value)).all()
    assert moving
    for old, variable in zip(before, (first, *moving), strict=True):
        assert np.abs(array(variable) - old).max() > 0, variable.path


def assert_deploys(model, size=None):
    """Deployed, it has the same outputs. Returns the plain model."""
    randomize(model)
    plain = keras_rep.deploy(model, verify=False)
    x = images(model, size)
    expected = run(model, x)

    assert not contains(plain, RepLayer)
    assert "BatchNormalization" not in kinds(plain)
    assert np.ptp(expected) > 0.1
    assert_close(run(plain, x), expected, TOLERANCE)
    return plain


def assert_loads_back(model, folder):
    """A saved model returns the very same when it is loaded."""
    path = folder / "model.keras"
    model.save(path)
    x = images(model)

    loaded = keras.saving.load_model(path)

    np.testing.assert_array_equal(run(loaded, x), run(model, x))
