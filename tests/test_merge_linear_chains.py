"""Two linear convolutions in a row become one, where that is exact and pays."""

import functools
import math

import keras
import pytest
from arrays import randomize
from keras import layers
from rewriting_helpers import functional, inputs_like, kinds_of, reason

from keras_rep.rules import DEFAULT_RULES, merge_linear_chains

IMAGE = (9, 8, 4)
FREELY = functools.partial(merge_linear_chains, max_growth=math.inf)


def conv(size, filters=6, **options):
    return layers.Conv2D(filters, size, **options)


def depthwise(size, **options):
    return layers.DepthwiseConv2D(size, **options)


def row(*parts):
    def call(x):
        for part in parts:
            x = part(x)
        return x

    return functional(call, *IMAGE)


MERGED = {
    "k×k, 1×1": (conv(3, padding="same"), conv(1)),
    "strided k×k, 1×1": (conv(3, strides=2, padding="same"), conv(1)),
    "padded k×k, 1×1": (layers.ZeroPadding2D(2), conv(3, strides=2), conv(1)),
    "dilated k×k, 1×1": (conv(3, dilation_rate=2), conv(1)),
    "k×k, strided 1×1": (conv(3), conv(1, strides=2)),
    "strided 1×1, strided 1×1": (
        conv(1, strides=2),
        conv(1, strides=2, padding="same"),
    ),
    "1×1, k×k": (conv(1), conv(3, strides=2)),
    "1×1 without bias, padded k×k": (
        conv(1, use_bias=False),
        conv(3, padding="same", activation="relu"),
    ),
    "1×1 without bias, zero padding, k×k": (
        conv(1, filters=8, use_bias=False),
        layers.ZeroPadding2D(1),
        conv(3, strides=2),
    ),
    "groups": (conv(1, groups=2), conv(3, groups=2)),
    "nested groups": (conv(3, filters=8, groups=4), conv(1, groups=2)),
    "depthwise, pointwise": (depthwise(3), conv(1)),
    "pointwise, depthwise": (conv(1), depthwise(3)),
    "depthwise, depthwise 1×1": (
        depthwise(3, depth_multiplier=2),
        depthwise(1, depth_multiplier=2),
    ),
}


@pytest.mark.parametrize("case", MERGED)
def test_what_is_merged(case):
    kinds = kinds_of(row(*MERGED[case]), FREELY)

    assert len([k for k in kinds if k != "ZeroPadding2D"]) == 1


def test_three_in_a_row_keep_the_name_of_the_last():
    model = row(conv(1), conv(3), conv(1, activation="relu", name="last"))

    assert kinds_of(model, FREELY) == ["Conv2D"]


@pytest.mark.parametrize("rank", [1, 3])
def test_other_numbers_of_axes(rank):
    kind = {1: layers.Conv1D, 3: layers.Conv3D}[rank]
    shape = (9, 5, 6)[:rank]
    model = functional(lambda x: kind(4, 1)(kind(6, 3)(x)), *shape, 4)

    assert kinds_of(model, FREELY) == [kind.__name__]


def test_dense_layers():
    model = functional(lambda x: layers.Dense(3)(layers.Dense(4)(x)), 4)

    assert kinds_of(model, merge_linear_chains) == ["Dense"]


def test_unknown_sizes():
    model = functional(lambda x: conv(1)(conv(3)(x)), None, None, 4)

    assert kinds_of(model, FREELY, inputs=inputs_like(*IMAGE)) == ["Conv2D"]


def test_shared_layers_are_merged_once():
    first, second = conv(1, filters=4), conv(3, filters=4)

    def call(x):
        y = layers.ReLU()(x)
        return layers.Subtract()([second(first(t)) for t in (x, y)])

    kinds = kinds_of(functional(call, *IMAGE), FREELY)

    assert sorted(kinds) == ["Conv2D", "ReLU", "Subtract"]


def test_what_separates_them_goes_first():
    model = row(
        conv(3),
        layers.Dropout(0.5),
        layers.BatchNormalization(),
        conv(1),
        layers.ReLU(),
    )

    assert kinds_of(model, *DEFAULT_RULES) == ["Conv2D"]


# What must be left alone, each with its reason.


def named(*parts):
    model = row(*parts)
    randomize(model)
    return model


def test_padding_that_is_not_zero_behind_a_bias():
    model = named(conv(1, name="first"), conv(3, padding="same", name="second"))

    assert "its padding is zero, which is not what 'first'" in reason(
        model, "second", FREELY
    )


def test_what_costs_more():
    model = named(
        conv(3, filters=2, name="first"), conv(1, filters=16, name="second")
    )

    assert "above max_growth=1" in reason(model, "second", merge_linear_chains)
    assert kinds_of(model, merge_linear_chains) == ["Conv2D", "Conv2D"]


def test_a_second_user():
    def call(x):
        y = conv(1, name="first")(x)
        return [y, conv(3, name="second")(y)]

    model = functional(call, *IMAGE)

    assert "the output of 'first' has another user" in reason(
        model, "second", FREELY
    )


@pytest.mark.parametrize(
    "parts",
    [
        (conv(1, activation="relu"), conv(1)),
        (conv(3), conv(3)),
        (conv(3, padding="same"), conv(1, strides=2)),
        (conv(3, dilation_rate=2), conv(1, strides=2)),
        (conv(1, strides=2), conv(3)),
        (layers.SeparableConv2D(4, 3), conv(1)),
        (conv(3), layers.Dense(3)),
        (conv(3, dtype="mixed_bfloat16"), conv(1, dtype="float32")),
    ],
)
def test_what_is_no_such_row(parts):
    model = row(*parts)
    if any(each.dtype_policy.name != "float32" for each in parts):
        # Not exact enough to compare; that it stays is what matters.
        randomize(model)
        import keras_rep

        plain = keras_rep.deploy(model, rules=[FREELY], verify=False)
        assert sum(isinstance(x, layers.Conv2D) for x in plain.layers) == 2
        return

    assert len(kinds_of(model, FREELY)) == 2


def test_quantized_layers_stay():
    model = functional(
        lambda x: layers.Dense(3, name="b")(layers.Dense(4, name="a")(x)), 4
    )
    randomize(model)
    model.get_layer("b").quantize("int8")

    assert reason(model, "b", FREELY) == "'b' is quantized"
    assert isinstance(model.get_layer("b"), keras.layers.Dense)
