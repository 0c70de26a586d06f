"""What the tests of all networks do: make a small one, train it, deploy it."""

import keras
import numpy as np
import pytest
from arrays import array, randomize, run
from rewriting_helpers import inputs_like
from test_layers import assert_close

import keras_rep
from keras_rep.graph import contains
from keras_rep.layers import RepLayer

# Rounding of some dozen layers in a row, which grows with its root.
TOLERANCE = 5e-6
SIZES = ((40, 24), (33, 47))


def small(make, *arguments, **options):
    """A function that makes a small network; it takes more arguments."""
    options = {
        "classes": 5,
        "classifier_activation": None,
        "input_shape": (*SIZES[0], 3),
        **options,
    }
    return lambda **more: make(*arguments, **{**options, **more})


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


def assert_trains(model, loss, x, y):
    """A step has a finite loss and moves the statistics of every BN."""
    moving = [v for v in model.variables if "moving" in v.path]
    before = [np.array(array(v)) for v in moving]
    model.compile(keras.optimizers.SGD(0.01), loss)

    value = model.train_on_batch(x, y)

    assert np.isfinite(np.asarray(value)).all()
    assert moving
    for old, variable in zip(before, moving, strict=True):
        assert np.abs(array(variable) - old).max() > 0, variable.path


def assert_classifier_trains(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x = inputs_like(*model.input_shape[1:])
    assert_trains(model, loss, x, np.array([0, 3]))


def assert_deploys(make, sizes=SIZES, channels=3):
    """Deployed, it has the same outputs, at each size of the image."""
    for size in sizes:
        model = make(input_shape=(*size, channels))
        randomize(model)
        plain = keras_rep.deploy(model, verify=False)
        x = inputs_like(*size, channels)
        expected = run(model, x)

        assert not contains(plain, RepLayer)
        assert "BatchNormalization" not in kinds(plain)
        assert np.ptp(expected) > 0.1
        assert_close(run(plain, x), expected, TOLERANCE)
