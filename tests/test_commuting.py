"""Normalizations move through layers, to a convolution before or behind."""

import keras
import numpy as np
import pytest
from arrays import randomize
from keras import layers
from rewriting_helpers import functional, inputs_like, kinds_of, reason
from test_deploy import assert_same_function

import keras_rep
from keras_rep.rules import fold_batch_norm

IMAGE = (8, 6, 4)


def conv(**options):
    return layers.Conv2D(4, 3, padding="same", **options)


def norm(positive=False, **options):
    layer = layers.BatchNormalization(name="norm", **options)
    if positive:
        # `randomize` leaves a gain of one alone.
        layer = layers.BatchNormalization(name="norm", scale=False, **options)
    return layer


COMMUTING = {
    "Dropout": lambda: layers.Dropout(0.5),
    "cropping": lambda: layers.Cropping2D(1),
    "nearest upsampling": lambda: layers.UpSampling2D(2),
    "average pooling": lambda: layers.AveragePooling2D(3, 2, "same"),
    "sampling": lambda: layers.MaxPooling2D(1, strides=2),
    "global average": lambda: layers.GlobalAveragePooling2D(),
    "kept axes": lambda: layers.GlobalAveragePooling2D(keepdims=True),
    "permutation": lambda: layers.Permute((2, 1, 3)),
    "reshaped pixels": lambda: layers.Reshape((48, 4)),
}
ORDERING = {
    "max pooling": lambda: layers.MaxPooling2D(3, 2, "same"),
    "global maximum": lambda: layers.GlobalMaxPooling2D(),
}


@pytest.mark.parametrize("kind", COMMUTING)
def test_behind_a_convolution(kind):
    model = functional(lambda x: norm()(COMMUTING[kind]()(conv()(x))), *IMAGE)

    assert "BatchNormalization" not in kinds_of(model, fold_batch_norm)


@pytest.mark.parametrize("kind", ORDERING)
def test_behind_a_convolution_with_positive_gains_only(kind):
    def model(positive):
        return functional(
            lambda x: norm(positive)(ORDERING[kind]()(conv()(x))), *IMAGE
        )

    assert "BatchNormalization" not in kinds_of(model(True), fold_batch_norm)
    assert "BatchNormalization" in kinds_of(model(False), fold_batch_norm)
    refused = model(False)
    randomize(refused)
    assert "a gain is not positive" in reason(refused, "norm", fold_batch_norm)


HEADS = {
    "Dense": lambda: layers.Dense(3),
    "valid": lambda: layers.Conv2D(3, 3, activation="relu"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
    "separable": lambda: layers.SeparableConv2D(3, 3, depth_multiplier=2),
    "grouped": lambda: layers.Conv2D(6, 1, groups=2, padding="same"),
    "fitting": lambda: layers.Conv2D(3, 2, strides=2, padding="same"),
}


@pytest.mark.parametrize("head", HEADS)
def test_in_front_of_a_convolution(head):
    model = functional(lambda x: HEADS[head]()(norm()(x)), *IMAGE)

    assert len(kinds_of(model, fold_batch_norm)) == 1


@pytest.mark.parametrize("kind", [*COMMUTING, "flattening"])
def test_in_front_of_what_stands_before_a_dense_layer(kind):
    make = {**COMMUTING, "flattening": layers.Flatten}[kind]
    model = functional(lambda x: layers.Dense(3)(make()(norm()(x))), *IMAGE)

    assert "BatchNormalization" not in kinds_of(model, fold_batch_norm)


def test_without_an_offset_padding_is_no_obstacle():
    """The offset of β = μ = 0 is zero; gains pass zeros."""

    def call(x):
        x = layers.BatchNormalization(name="norm", center=False)(x)
        return layers.Conv2DTranspose(3, 3)(layers.ZeroPadding2D(1)(x))

    model = functional(call, *IMAGE)
    randomize(model)
    model.get_layer("norm").moving_mean.assign(np.zeros(4))
    plain = keras_rep.deploy(model, rules=[fold_batch_norm], verify=False)

    assert_same_function(model, plain, inputs_like(*IMAGE))
    assert "norm" not in [layer.name for layer in plain.layers]


def test_into_every_summand():
    def call(x):
        y = layers.Cropping2D(0)(conv()(x))
        return norm()(layers.Add()([conv()(x), y, conv()(x)]))

    kinds = kinds_of(functional(call, *IMAGE), fold_batch_norm)

    assert "BatchNormalization" not in kinds


def test_into_an_operation_that_adds():
    model = functional(lambda x: norm()(conv()(x) + conv()(x)), *IMAGE)

    assert "BatchNormalization" not in kinds_of(model, fold_batch_norm)


@pytest.mark.parametrize("axis", [-1, 1])
def test_into_what_lies_side_by_side(axis):
    model = functional(
        lambda x: norm()(
            layers.Concatenate(axis)([conv()(x), layers.Conv2D(4, 1)(x)])
        ),
        *IMAGE,
    )

    assert "BatchNormalization" not in kinds_of(model, fold_batch_norm)


def test_two_normalizations_become_one():
    model = functional(
        lambda x: layers.BatchNormalization(scale=False, axis=3)(norm()(x)),
        *IMAGE,
    )

    assert kinds_of(model, fold_batch_norm) == ["BatchNormalization"]


def test_a_transposed_shared_pair():
    up, bn = layers.Conv2DTranspose(4, 2, strides=2), norm()
    model = functional(lambda x: bn(up(bn(up(x)))), *IMAGE)

    assert kinds_of(model, fold_batch_norm) == ["Conv2DTranspose"]


# What must be left alone, each with its reason.

REFUSED = {
    "activation": (
        lambda x: norm()(layers.Activation("tanh", name="act")(conv()(x))),
        "'act' (of type Activation) stands between",
    ),
    "bilinear": (
        lambda x: norm()(
            layers.UpSampling2D(2, interpolation="bilinear")(conv()(x))
        ),
        "interpolates",
    ),
    "padding": (
        lambda x: norm()(layers.ZeroPadding2D(1)(conv()(x))),
        "pads with zeros",
    ),
    "flattened": (
        lambda x: norm()(layers.Flatten(name="flat")(conv()(x))),
        "'flat' puts pixels of a channel among the channels",
    ),
    "other axis": (
        lambda x: norm(axis=1)(layers.AveragePooling2D(2)(conv()(x))),
        "mixes what axis 1 is normalized by",
    ),
    "a summand with another user": (
        lambda x: (lambda y: norm()(layers.Add()([y, y])))(conv()(x)),
        "has another user",
    ),
    "an input among the summands": (
        lambda x: norm()(layers.Add()([conv()(x), x])),
        "not the output of a convolution",
    ),
    "broadcast": (
        lambda x: norm()(
            layers.Add(name="sum")([conv()(x), layers.Dense(4)(x[:, :1])])
        ),
        "'sum' broadcasts",
    ),
    "padded in front": (
        lambda x: conv(name="conv")(norm()(x)),
        "'conv' pads the image with zeros",
    ),
    "transposed in front": (
        lambda x: layers.Conv2DTranspose(3, 3, name="up")(norm()(x)),
        "'up' pads the image with zeros",
    ),
    "activation in front": (
        lambda x: layers.Dense(3)(layers.ReLU()(norm()(x))),
        "not the output of a convolution",
    ),
    "user in front": (
        lambda x: (lambda y: layers.Add()([layers.Dense(4)(y), y]))(norm()(x)),
        "the output of 'norm' has another user",
    ),
    "axis in front": (
        lambda x: layers.Dense(3, name="head")(norm(axis=1)(x)),
        "not the channel axis of 'head'",
    ),
    "renewed": (
        lambda x: norm()(conv(name="in")(x), training=True),
        "called with `training=True`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_stays(case):
    call, message = REFUSED[case]
    model = functional(call, *IMAGE)
    randomize(model)

    plain = keras_rep.deploy(model, rules=[fold_batch_norm], verify=False)

    assert message in reason(model, "norm", fold_batch_norm)
    assert type(plain.get_layer("norm")) is layers.BatchNormalization
    assert_same_function(model, plain, inputs_like(*IMAGE))


def test_unknown_lengths_cannot_be_reshaped():
    model = functional(
        lambda x: norm()(layers.Reshape((-1, 4), name="flat")(conv()(x))),
        None,
        None,
        4,
    )
    randomize(model)

    assert "unknown length" in reason(model, "norm", fold_batch_norm)


def test_a_convolution_called_elsewhere_too():
    head = layers.Dense(4, name="head")
    model = functional(lambda x: head(head(norm()(x))), *IMAGE)
    randomize(model)

    assert "'head' is called elsewhere, too" in reason(
        model, "norm", fold_batch_norm
    )


def test_channels_first(backend):
    if backend == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on a CPU")
    options = {"data_format": "channels_first"}

    def call(x):
        x = layers.Conv2D(4, 3, **options)(layers.BatchNormalization(1)(x))
        x = layers.UpSampling2D(2, **options)(x)
        return layers.BatchNormalization(axis=1)(x)

    model = functional(call, 3, 8, 9)

    assert kinds_of(model, fold_batch_norm) == ["Conv2D", "UpSampling2D"]
    assert isinstance(model, keras.Model)


@pytest.mark.parametrize("acting", [layers.GaussianNoise, layers.Dropout])
def test_what_always_acts_is_in_the_way(acting):
    def call(x):
        x = acting(0.5)(norm()(x), training=True)
        return layers.Dense(3)(x)

    model = functional(call, *IMAGE)
    randomize(model)

    plain = keras_rep.deploy(model, rules=[fold_batch_norm], verify=False)

    assert type(plain.get_layer("norm")) is layers.BatchNormalization
