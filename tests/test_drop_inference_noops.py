"""What does nothing in inference mode goes; what does something stays."""

import inspect

import keras
import numpy as np
import pytest
from arrays import array
from keras import layers
from rewriting_helpers import functional, kinds_of, reason, rewritten

import keras_rep
from keras_rep.rules import drop_inference_noops
from keras_rep.rules.drop_inference_noops import AUGMENTATIONS

IMAGE = (8, 9, 3)

NOOPS = {
    "Dropout": lambda: layers.Dropout(0.5),
    "SpatialDropout2D": lambda: layers.SpatialDropout2D(0.5),
    "AlphaDropout": lambda: layers.AlphaDropout(0.5),
    "GaussianDropout": lambda: layers.GaussianDropout(0.5),
    "GaussianNoise": lambda: layers.GaussianNoise(1.0),
    "ActivityRegularization": lambda: layers.ActivityRegularization(l2=1.0),
    "Identity": layers.Identity,
    "Activation": lambda: layers.Activation("linear"),
    "RandomFlip": layers.RandomFlip,
    "RandomRotation": lambda: layers.RandomRotation(0.2),
}


@pytest.mark.parametrize("kind", NOOPS)
def test_what_goes(kind):
    model = functional(
        lambda x: layers.ReLU()(NOOPS[kind]()(layers.ReLU()(x))), *IMAGE
    )

    assert kinds_of(model, drop_inference_noops) == ["ReLU", "ReLU"]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_augmentations_do_nothing_in_inference_mode(augmentation):
    """The rule takes Keras at its word; this looks."""
    required = [
        parameter.name
        for parameter in inspect.signature(augmentation).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    values = {"RandomPosterization": 4}
    factor = values.get(augmentation.__name__, 0.5)
    layer = augmentation(**dict.fromkeys(required, factor))
    images = np.random.default_rng(0).uniform(0, 255, (2, *IMAGE))
    images = images.astype("float32")

    received = layer(images, training=False)

    np.testing.assert_array_equal(array(received), images)


def test_an_augmentation_is_reported():
    model = functional(
        lambda x: layers.Conv2D(2, 3)(layers.RandomFlip(name="flip")(x)), *IMAGE
    )

    (row,) = [r for r in keras_rep.explain(model).layers if r.path == "flip"]

    assert row.rule == "drop_inference_noops"
    assert row.remarks == ("the augmentation ends with training",)


def test_outputs_keep_their_names():
    model = functional(lambda x: layers.Dropout(0.5, name="score")(x), *IMAGE)

    assert rewritten(model).output_names == ["score"]


def test_a_sequence_of_nothing():
    nothing = keras.Sequential([keras.Input(IMAGE), layers.Dropout(0.5)])
    model = functional(lambda x: layers.ReLU()(nothing(x)), *IMAGE)

    assert rewritten(nothing).inputs[0].shape == (None, *IMAGE)
    rewritten(model)


def test_dropout_that_always_acts_stays():
    model = functional(
        lambda x: layers.Dropout(0.5, name="drop")(x, training=True), *IMAGE
    )

    assert "so it always acts" in reason(model, "drop")


def test_an_identity_that_casts_stays():
    inputs = keras.Input(IMAGE, dtype="uint8")
    x = layers.RandomFlip(name="flip")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 3)(x))

    assert reason(model, "flip") == "it casts uint8 to float32"
