"""Scaling of the raw image goes into the first convolution."""

import keras
import numpy as np
import pytest
from keras import layers
from rewriting_helpers import functional, inputs_like, kinds_of, reason

from keras_rep.rules import fold_rescaling

IMAGE = (8, 9, 3)


def normalization(**options):
    return layers.Normalization(
        mean=[1.0, 2.0, 3.0], variance=[4.0, 0.5, 1.0], **options
    )


SCALINGS = {
    "Rescaling": lambda: layers.Rescaling(1 / 255, offset=-0.5),
    "one number a channel": lambda: layers.Rescaling([0.1, 0.2, 0.3]),
    "Normalization": normalization,
    "inverted": lambda: normalization(invert=True),
    "one number": lambda: layers.Normalization(
        axis=None, mean=3.0, variance=2.0
    ),
}
FIRST = {
    "Conv2D": lambda: layers.Conv2D(4, 3, groups=1),
    "grouped": lambda: layers.Conv2D(6, 3, groups=3, activation="relu"),
    "DepthwiseConv2D": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
    "SeparableConv2D": lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2),
    "pointwise": lambda: layers.Conv2D(4, 1, strides=2, padding="same"),
    "Dense": lambda: layers.Dense(4, use_bias=False),
}


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_what_folds(scaling, first):
    model = functional(lambda x: FIRST[first]()(SCALINGS[scaling]()(x)), *IMAGE)

    assert len(kinds_of(model, fold_rescaling)) == 1


def test_two_in_a_row():
    model = functional(
        lambda x: layers.Conv2D(4, 3)(
            normalization()(layers.Rescaling(0.1, 1.0)(x))
        ),
        *IMAGE,
    )

    assert kinds_of(model, fold_rescaling) == ["Conv2D"]


def test_a_gain_passes_padding_and_pooling():
    def call(x):
        x = layers.Rescaling(0.5)(x)
        x = layers.MaxPooling2D(2)(layers.ZeroPadding2D(1)(x))
        return layers.Conv2DTranspose(4, 3, padding="same")(x)

    assert kinds_of(functional(call, *IMAGE), fold_rescaling) == [
        "ZeroPadding2D",
        "MaxPooling2D",
        "Conv2DTranspose",
    ]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Conv2D(4, 3, padding="same", name="c"), "'c' pads the image"),
        (layers.Conv2DTranspose(4, 3, name="c"), "'c' pads the image"),
        (layers.ZeroPadding2D(1, name="p"), "'p' pads with zeros"),
    ],
)
def test_an_offset_does_not_pass_padding(layer, message):
    model = functional(
        lambda x: layers.Conv2D(4, 3)(
            layer(layers.Rescaling(0.5, 1.0, name="scale")(x))
        ),
        *IMAGE,
    )

    assert message in reason(model, "scale", fold_rescaling)


def test_integers_are_cast_and_stay():
    inputs = keras.Input(IMAGE, dtype="uint8")
    x = layers.Rescaling(1 / 255, name="scale")(inputs)
    model = keras.Model(inputs, layers.Conv2D(4, 3)(x))

    assert reason(model, "scale") == "it casts uint8 to float32"


def test_numbers_along_other_axes_stay():
    scale = layers.Normalization(axis=1, name="scale")
    scale.adapt(inputs_like(*IMAGE))
    model = functional(lambda x: layers.Conv2D(4, 3)(scale(x)), *IMAGE)

    assert "along other axes" in reason(model, "scale")


def test_another_user_needs_it():
    def call(x):
        x = layers.Rescaling(0.5, name="scale")(x)
        return [layers.Conv2D(4, 3)(x), x]

    model = functional(call, *IMAGE)

    assert "'scale' has another user" in reason(model, "scale")


def test_a_layer_that_is_called_elsewhere_too():
    conv = layers.Conv2D(3, 3, padding="same", name="conv")

    def call(x):
        return conv(conv(layers.Rescaling(0.5, name="scale")(x)))

    assert "'conv' is called elsewhere, too" in reason(
        functional(call, *IMAGE), "scale"
    )


def test_channels_first(backend):
    if backend == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on a CPU")
    inputs = keras.Input((3, 8, 9))
    x = layers.Rescaling(0.5, 1.0)(inputs)
    x = layers.Conv2D(4, 3, data_format="channels_first")(x)
    model = keras.Model(inputs, x)

    assert kinds_of(model, fold_rescaling) == ["Conv2D"]


def test_adapted_to_data():
    layer = layers.Normalization()
    layer.adapt(np.concatenate([inputs_like(*IMAGE)] * 2))
    model = functional(lambda x: layers.Conv2D(4, 3)(layer(x)), *IMAGE)

    assert kinds_of(model, fold_rescaling) == ["Conv2D"]
