"""Folding batch normalization: what folds, and what must be left alone."""

import inspect

import keras
import numpy as np
import pytest
from arrays import array, randomize
from keras import layers
from test_deploy import assert_same_function, deployed, kinds

import keras_rep
from keras_rep.layers import RepConv

IMAGE = (9, 8, 6)

FOLDABLE = {
    "Conv2D": (IMAGE, lambda: layers.Conv2D(4, 3, use_bias=False)),
    "Conv2D with bias": (IMAGE, lambda: layers.Conv2D(4, 3, strides=2)),
    "grouped Conv2D": (IMAGE, lambda: layers.Conv2D(4, 3, groups=2)),
    "DepthwiseConv2D": (
        IMAGE,
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
    ),
    "Conv1D": ((9, 6), lambda: layers.Conv1D(4, 3)),
    "DepthwiseConv1D": ((9, 6), lambda: layers.DepthwiseConv1D(3)),
    "Conv3D": ((5, 4, 6, 2), lambda: layers.Conv3D(4, 3)),
    "SeparableConv1D": ((9, 6), lambda: layers.SeparableConv1D(4, 3)),
    "SeparableConv2D": (
        IMAGE,
        lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2),
    ),
    "Conv1DTranspose": ((9, 6), lambda: layers.Conv1DTranspose(4, 3)),
    "Conv2DTranspose": (
        IMAGE,
        lambda: layers.Conv2DTranspose(4, 3, strides=2, use_bias=False),
    ),
    "Conv3DTranspose": ((5, 4, 6, 2), lambda: layers.Conv3DTranspose(4, 3)),
    "Dense": ((6,), lambda: layers.Dense(4)),
    "Dense on images": (IMAGE, lambda: layers.Dense(4, use_bias=False)),
}


def inputs_like(shape):
    rng = np.random.default_rng(2)
    return rng.normal(0.5, 1.0, (2, *shape)).astype("float32")


def reasons(model):
    report = keras_rep.explain(model)
    return {row.path: row.remarks for row in report.layers}


@pytest.mark.parametrize(
    "options",
    [{}, {"scale": False}, {"center": False, "scale": False}, {"epsilon": 0.1}],
    ids=str,
)
@pytest.mark.parametrize("kind", FOLDABLE)
def test_what_folds(kind, options):
    shape, make = FOLDABLE[kind]
    model = keras.Sequential(
        [
            keras.Input(shape),
            make(),
            layers.BatchNormalization(**options),
            layers.LeakyReLU(),
        ]
    )

    plain = deployed(model, inputs_like(shape))

    assert kinds(plain) == [kinds(model)[0], "LeakyReLU"]
    assert plain.layers[0].name == model.layers[0].name


def test_renormalization_folds_by_its_moving_statistics():
    if "renorm" not in inspect.signature(layers.BatchNormalization).parameters:
        pytest.skip("this version of Keras has no renormalization")
    norm = layers.BatchNormalization(renorm=True)
    model = keras.Sequential([keras.Input(IMAGE), layers.Conv2D(4, 1), norm])

    assert kinds(deployed(model)) == ["Conv2D"]


def test_normalization_behind_a_rep_layer_folds_into_it():
    model = keras.Sequential(
        [
            keras.Input(IMAGE),
            RepConv(4, name="rep", padding="centered", strides=2),
            layers.BatchNormalization(name="norm"),
        ]
    )

    plain = deployed(model)

    assert [layer.name for layer in plain.layers] == ["rep_pad", "rep"]


def test_an_output_keeps_its_name():
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(4, 1, name="conv")(inputs)
    model = keras.Model(inputs, layers.BatchNormalization(name="score")(x))
    model.compile("sgd", loss={"score": "mse"})

    plain = deployed(model)

    assert kinds(plain) == ["InputLayer", "Conv2D", "Identity"]
    assert plain.output_names == ["score"]
    plain.evaluate(inputs_like(IMAGE), np.zeros((2, 9, 8, 4)), verbose=0)


def test_one_normalization_behind_two_convolutions():
    inputs = keras.Input(IMAGE)
    norm = layers.BatchNormalization()
    convolutions = [layers.Conv2D(4, 1, name=name)(inputs) for name in "ab"]
    model = keras.Model(inputs, layers.Add()([norm(x) for x in convolutions]))

    plain = deployed(model)

    assert "BatchNormalization" not in kinds(plain)


def test_a_convolution_and_normalization_shared_together():
    first, second = keras.Input(IMAGE), keras.Input(IMAGE)
    conv, norm = layers.Conv2D(4, 1), layers.BatchNormalization()
    features = [norm(conv(x)) for x in (first, second)]
    model = keras.Model([first, second], layers.Subtract()(features))

    plain = deployed(model)

    assert kinds(plain).count("Conv2D") == 1
    assert "BatchNormalization" not in kinds(plain)


def test_the_original_data_format_decides_the_axis(backend):
    if backend == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on a CPU")
    model = keras.Sequential(
        [
            keras.Input((6, 9, 8)),
            layers.Conv2D(4, 3, data_format="channels_first"),
            layers.BatchNormalization(axis=1),
        ]
    )

    plain = deployed(model, inputs_like((6, 9, 8)))

    assert kinds(plain) == ["Conv2D"]


# What must be left alone, each with its reason.


def sequence(*middle):
    norm = layers.BatchNormalization(name="norm")
    return keras.Sequential([keras.Input(IMAGE), *middle, norm])


def second_user():
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(4, 1, name="conv")(inputs)
    y = layers.BatchNormalization(name="norm")(x)
    return keras.Model(inputs, layers.Add()([x, y]))


def conv_is_an_output():
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(4, 1, name="conv")(inputs)
    return keras.Model(inputs, [x, layers.BatchNormalization(name="norm")(x)])


def two_normalizations():
    inputs = keras.Input(IMAGE)
    conv = layers.Conv2D(4, 1, name="conv")
    other = layers.BatchNormalization(name="other")
    norm = layers.BatchNormalization(name="norm")
    x = layers.Add()([other(conv(inputs)), norm(conv(inputs))])
    return keras.Model(inputs, x)


def pinned():
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(4, 1, name="conv")(inputs)
    norm = layers.BatchNormalization(name="norm")
    return keras.Model(inputs, norm(x, training=True))


def other_axis():
    norm = layers.BatchNormalization(axis=1, name="norm")
    return keras.Sequential([keras.Input(IMAGE), layers.Conv2D(4, 1), norm])


TRAPS = {
    "activation inside": (
        lambda: sequence(layers.Conv2D(4, 1, activation="relu")),
        "an activation stands between",
    ),
    "activation between": (
        lambda: sequence(layers.Conv2D(4, 1), layers.ReLU()),
        "an activation stands between",
    ),
    "nothing before": (sequence, "not the output of a convolution"),
    "second user": (second_user, "the output of 'conv' has another user"),
    "an output": (conv_is_an_output, "the output of 'conv' has another user"),
    "two of them": (two_normalizations, "the output of 'conv' has another"),
    "pinned": (pinned, "called with `training=True`"),
    "other axis": (other_axis, "normalizes axis 1, which is not the channel"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_what_stays(trap):
    make, reason = TRAPS[trap]
    model = make()
    randomize(model)

    plain = keras_rep.deploy(model)

    assert type(plain.get_layer("norm")) is layers.BatchNormalization
    assert reason in " ".join(reasons(model)["norm"])
    assert_same_function(model, plain, inputs_like(IMAGE))


def test_quantized_convolutions_stay():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, name="dense"),
            layers.BatchNormalization(name="norm"),
        ]
    )
    randomize(model)
    model.get_layer("dense").quantize("int8")

    plain = keras_rep.deploy(model)

    assert reasons(model)["norm"] == ("'dense' is quantized",)
    x = inputs_like((6,))
    np.testing.assert_allclose(array(plain(x)), array(model(x)), atol=1e-6)
