"""Reports say what happened, in numbers and in words."""

import keras
import pytest
from arrays import randomize
from keras import layers

import keras_rep
from keras_rep.layers import RepConv


@pytest.fixture
def report():
    inputs = keras.Input((8, 8, 4))
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), RepConv(4, name="deep")], name="inner"
    )
    x = inner(inputs)
    x = RepConv(
        6,
        strides=2,
        activation="relu",
        name="down",
        kernel_regularizer="l2",
        kernel_constraint="unit_norm",
    )(x)
    x = layers.Conv2D(2, 1, name="score")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dense(3, name="head")(layers.Flatten()(x))
    model = keras.Model(inputs, x, name="net")
    randomize(model)
    return keras_rep.explain(model)


def row(report, path):
    (found,) = [row for row in report.layers if row.path == path]
    return found


def test_rows_name_blocks_and_what_they_become(report):
    deep = row(report, "inner/deep")

    assert deep.block == "RepConv"
    assert deep.becomes == "Conv2D 3×3"
    assert deep.rule == "deploy_rep_layer"
    assert row(report, "norm").becomes == "part of 'score'"
    assert row(report, "head").rule is None
    assert report.replaced == ("inner/deep", "down", "norm")


def test_parameters_and_multiply_adds(report):
    deep, down = row(report, "inner/deep"), row(report, "down")
    norm = 4 * 4

    assert deep.parameters == (9 * 16 + 16 + 3 * norm, 9 * 16 + 4)
    assert deep.multiply_adds == ((9 + 1) * 16 * 64, 9 * 16 * 64)
    assert down.multiply_adds == ((9 + 1) * 24 * 16, 9 * 24 * 16)
    assert row(report, "score").multiply_adds == (12 * 16, 12 * 16)
    assert row(report, "head").multiply_adds == (32 * 3, 32 * 3)
    assert report.multiply_adds[1] == (9 * 16 * 64 + 9 * 24 * 16 + 192 + 96)


def test_what_training_loses_is_said(report):
    assert row(report, "down").remarks == (
        "the regularizer of 2 weights ends with training",
        "the constraint of 2 weights ends with training",
    )


def test_frozen_and_fresh_layers_are_noted():
    model = keras.Sequential(
        [keras.Input((8, 8, 4)), RepConv(4, name="stem", trainable=False)]
    )

    remarks = keras_rep.explain(model).layers[0].remarks

    assert remarks == ("its moving statistics were never updated", "frozen")


def test_shared_layers_count_for_every_call():
    inputs = keras.Input((8, 8, 4))
    shared = RepConv(4)
    model = keras.Model(inputs, shared(shared(inputs)))

    (only,) = keras_rep.explain(model).layers

    assert only.multiply_adds[1] == 2 * 9 * 16 * 64
    assert only.parameters[1] == 9 * 16 + 4


def test_unknown_sizes_have_no_multiply_adds():
    model = keras.Sequential([keras.Input((None, None, 4)), RepConv(4)])

    report = keras_rep.explain(model)

    assert report.multiply_adds == (None, None)
    assert "?" in report.render()


def test_the_table(report):
    table = report.render(width=160)

    assert "flatten" not in table
    for text in (
        "Deployment of 'net'",
        "inner/deep",
        "Conv2D 3×3",
        "208 → 148",
        "the regularizer of 2 weights",
        "total",
    ):
        assert text in table


def test_explaining_changes_nothing(report):
    model = keras.Sequential([keras.Input((8, 8, 4)), RepConv(4, name="a")])

    keras_rep.explain(model)

    assert isinstance(model.get_layer("a"), RepConv)
    assert len(model.get_layer("a")._inbound_nodes) == 1


def test_what_stays_has_a_reason():
    inputs = keras.Input((8, 8, 4))
    x = layers.BatchNormalization(name="norm")(inputs)
    x = layers.ReLU(name="relu")(x)
    model = keras.Model(inputs, x + inputs)
    randomize(model)

    report = keras_rep.explain(model)

    assert report.replaced == ()
    assert report.kept["relu"] == ("plain already",)
    assert report.kept["norm"] == (
        "its input is not the output of a convolution",
    )
    assert len(report.layers) == 3


def test_separable_and_transposed_convolutions_are_counted():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.SeparableConv2D(6, 3, activation="relu"),
            layers.Conv2DTranspose(2, 3, strides=2),
        ]
    )
    randomize(model)

    separable, transposed = keras_rep.explain(model).layers

    assert separable.multiply_adds[0] == (9 * 4 + 4 * 6) * 36
    assert transposed.multiply_adds[0] == 9 * 2 * 6 * 36


def test_a_model_without_weights():
    model = keras.Sequential([keras.Input((4,)), layers.ReLU()])

    report = keras_rep.explain(model)

    assert report.replaced == ()
    assert report.parameters == (0, 0)
