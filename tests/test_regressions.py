"""What random models and reading found, each as the smallest model."""

import keras
import numpy as np
import pytest
from arrays import array, randomize
from keras import layers
from rewriting_helpers import inputs_like, reason
from test_deploy import deployed, kinds
from test_layers import assert_close

import keras_rep
from keras_rep.layers import RepConv

# Rounding of a few layers in a row.
TOLERANCE = 5e-6


@keras.saving.register_keras_serializable("tests")
class AlwaysNormalizing(layers.Layer):
    """A user's layer that pins a part of it to training."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(4, 1, name="conv")
        self.norm = layers.BatchNormalization(name="norm")

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build((*input_shape[:-1], 4))

    def call(self, x):
        return self.norm(self.conv(x), training=True)


class SubclassedNormalizing(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = AlwaysNormalizing(name="inner")

    def call(self, x):
        return self.inner(x)


def in_a_functional_model(x):
    inputs = keras.Input(x.shape[1:])
    return keras.Model(inputs, AlwaysNormalizing(name="inner")(inputs))


def in_a_subclassed_model(x):
    model = SubclassedNormalizing()
    model(x)
    return model


@pytest.mark.parametrize("make", [in_a_functional_model, in_a_subclassed_model])
def test_what_a_layer_pins_inside_acts_in_inference_mode(make):
    """Put into a graph, `training=False` would overrule it."""
    x = inputs_like(9, 8, 3)
    model = make(x)
    randomize(model)
    expected = array(model(x, training=False))

    plain = keras_rep.deploy(model, verify=False)

    assert_close(array(plain(x, training=False)), expected, TOLERANCE)
    assert "'norm' with `training=True`" in reason(model, "inner")


def test_a_model_that_pins_a_layer_is_refused():
    class Pinning(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = layers.BatchNormalization(name="norm")

        def call(self, x):
            return self.norm(x, training=True)

    model = Pinning()
    model(inputs_like(9, 8, 3))

    with pytest.raises(keras_rep.DeployError, match="'norm' with `training"):
        keras_rep.deploy(model)


@keras.saving.register_keras_serializable("tests")
class TwoSides(layers.Layer):
    """A user's layer of two inputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = RepConv(4, name="conv")

    def build(self, left_shape, right_shape):
        self.conv.build(left_shape)

    def call(self, left, right):
        return self.conv(left) - 2 * right


def test_one_tensor_may_be_passed_twice():
    inputs = keras.Input((9, 8, 4))
    x = layers.ReLU()(inputs)
    model = keras.Model(inputs, TwoSides(name="sides")(x, x))

    deployed(model, inputs_like(9, 8, 4))


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.GaussianNoise(0.5, seed=1),
        lambda: layers.Dropout(0.5, seed=1),
        lambda: layers.AlphaDropout(0.5, seed=1),
    ],
)
def test_no_normalization_moves_forward_through_a_layer_that_acts(make):
    inputs = keras.Input((9, 8, 3))
    x = layers.BatchNormalization(name="norm")(inputs)
    x = make()(x, training=True)
    model = keras.Model(inputs, layers.Conv2D(4, 3, name="conv")(x))
    randomize(model)

    plain = keras_rep.deploy(model)

    assert kinds(plain) == kinds(model)


def test_a_tensor_that_is_two_outputs_keeps_its_name():
    inputs = keras.Input((9, 8, 3))
    x = layers.Conv2D(4, 1, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    model = keras.Model(inputs, {"a": x, "b": x})

    plain = deployed(model, inputs_like(9, 8, 3))

    assert plain.output_names == model.output_names


def test_dense_layers_in_a_row_have_no_strides():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5), layers.Dense(4)]
    )

    assert kinds(deployed(model, inputs_like(6))) == ["Dense"]


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_model_of_nothing_that_acts(is_nested):
    model = keras.Sequential([keras.Input((6,)), layers.Dropout(0.5)])
    if is_nested:
        model = keras.Sequential(
            [keras.Input((6,)), layers.PReLU(), model, layers.PReLU()]
        )

    plain = deployed(model, inputs_like(6))

    np.testing.assert_equal(plain.output_shape, (None, 6))
