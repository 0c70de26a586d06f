"""Activations become part of the convolution before them."""

import keras
import pytest
from arrays import randomize
from keras import layers, ops
from rewriting_helpers import functional, kinds_of, reason, rewritten

import keras_rep
from keras_rep.rules import fuse_activations

IMAGE = (8, 9, 3)

FUSABLE = {
    "ReLU": (layers.ReLU(), "relu"),
    "ReLU 6": (layers.ReLU(6.0), "relu6"),
    "LeakyReLU 0.2": (layers.LeakyReLU(0.2), "leaky_relu"),
    "LeakyReLU 0": (layers.LeakyReLU(0.0), "relu"),
    "ELU": (layers.ELU(), "elu"),
    "Softmax": (layers.Softmax(), "softmax"),
    "Activation": (layers.Activation("swish"), "silu"),
    "ops.relu": (ops.relu, "relu"),
    "ops.relu6": (ops.relu6, "relu6"),
    "activations.relu": (keras.activations.relu, "relu"),
    "ops.tanh": (ops.tanh, "tanh"),
}


def own_activation(x):
    return ops.relu(x) + 1.0


MAKERS = {
    "Conv2D": lambda: layers.Conv2D(4, 3),
    "DepthwiseConv2D": lambda: layers.DepthwiseConv2D(3),
    "SeparableConv2D": lambda: layers.SeparableConv2D(4, 3),
    "Conv2DTranspose": lambda: layers.Conv2DTranspose(4, 3),
    "Dense": lambda: layers.Dense(4),
}


@pytest.mark.parametrize("kind", FUSABLE)
def test_which_activations(kind):
    activation, name = FUSABLE[kind]
    model = functional(
        lambda x: activation(layers.Conv2D(4, 3, name="conv")(x)), *IMAGE
    )

    plain = rewritten(model, fuse_activations)

    assert plain.get_layer("conv").activation.__name__ == name
    assert len(keras_rep.explain(model, rules=[fuse_activations]).replaced) == 1


@pytest.mark.parametrize("kind", MAKERS)
def test_which_layers(kind):
    model = functional(lambda x: layers.ReLU()(MAKERS[kind]()(x)), *IMAGE)

    assert kinds_of(model, fuse_activations) == [kind]


@pytest.mark.parametrize(
    "activation",
    [
        layers.ReLU(4.0),
        layers.ReLU(threshold=0.5),
        layers.ReLU(max_value=6.0, negative_slope=0.1),
        layers.LeakyReLU(0.1),
        layers.ELU(0.5),
        layers.Softmax(axis=1),
        layers.PReLU(),
        layers.Activation(own_activation),
    ],
)
def test_what_no_function_computes_stays(activation):
    model = functional(lambda x: activation(layers.Conv2D(4, 3)(x)), *IMAGE)

    assert len(kinds_of(model, fuse_activations)) == 2


def test_a_second_user_keeps_it_apart():
    def call(x):
        y = layers.Conv2D(4, 3, name="conv")(x)
        return layers.Add()([layers.ReLU(name="relu")(y), y])

    model = functional(call, *IMAGE)
    randomize(model)

    assert reason(model, "relu") == "the output of 'conv' has another user"


def test_a_second_activation_stays():
    model = functional(
        lambda x: layers.Activation("tanh", name="second")(
            layers.Conv2D(4, 3, activation="relu", name="conv")(x)
        ),
        *IMAGE,
    )

    assert "'conv' has an activation already" in reason(model, "second")


def test_another_precision_stays():
    model = functional(
        lambda x: layers.Softmax(dtype="float32", name="score")(
            layers.Dense(4, dtype="mixed_bfloat16")(x)
        ),
        *IMAGE,
    )

    assert "it computes in float32" in reason(model, "score")


def test_shared_layers_are_fused_together():
    conv, relu = layers.Conv2D(3, 3, padding="same"), layers.ReLU()
    model = functional(lambda x: relu(conv(relu(conv(x)))), *IMAGE)

    assert kinds_of(model, fuse_activations) == ["Conv2D"]
