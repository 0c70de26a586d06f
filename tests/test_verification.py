"""How far a file may be from its model."""

import keras
import numpy as np
import pytest
from arrays import array
from keras import layers

import keras_rep
from keras_rep.export.verification import FLOAT32_TOLERANCE, verify_file
from keras_rep.inputs import random_inputs


def sharp_net(size):
    """The softmax of large numbers that differ little."""
    inputs = keras.Input((576,), name="numbers")
    outputs = layers.Dense(5, "softmax", name="score")(inputs)
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    common, own = rng.normal(size=(576, 1)), rng.normal(size=(576, 5))
    model.set_weights([size * common + 0.05 * own, np.zeros(5)])
    return model


def exactly(model, factor=1.0):
    """A runner that computes a `sharp_net` in double precision."""
    kernel = factor * model.get_weights()[0].astype("float64")

    def run(feed):
        logits = feed["numbers"] @ kernel
        powers = np.exp(logits - logits.max())
        return {"score": powers / powers.sum()}

    return run


def verify(model, runner):
    verify_file(runner, model, ["score"], FLOAT32_TOLERANCE)


def test_a_model_may_turn_rounding_into_more():
    model = sharp_net(20)
    x = random_inputs(model)
    expected = exactly(model)({"numbers": array(x)})["score"]
    assert np.abs(array(model(x)) - expected).max() > FLOAT32_TOLERANCE

    verify(model, exactly(model))

    with pytest.raises(keras_rep.DeployError, match="'score', a relative err"):
        verify(model, exactly(model, factor=1.2))


def test_outputs_that_rounding_decides_show_nothing():
    model = sharp_net(1e5)

    with pytest.raises(keras_rep.DeployError, match=r"at most 1\.0e-02"):
        verify(model, exactly(model))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_must_be_finite(value):
    model = sharp_net(1)

    with pytest.raises(keras_rep.DeployError, match="finite numbers"):
        verify_file(
            lambda _: {"score": np.full((1, 5), value)}, model, ["score"]
        )
