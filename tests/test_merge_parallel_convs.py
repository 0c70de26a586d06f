"""Sums of convolutions of one tensor become one convolution."""

import functools
import math

import keras
import pytest
from arrays import randomize
from keras import layers
from rewriting_helpers import functional, inputs_like, kinds_of, reason
from test_deploy import assert_same_function

import keras_rep
from keras_rep.rules import merge_parallel_convs

IMAGE = (9, 8, 4)
FREELY = functools.partial(merge_parallel_convs, max_growth=math.inf)


def conv(size, filters=4, **options):
    options = {"padding": "same", **options}
    return layers.Conv2D(filters, size, **options)


def depthwise(size, **options):
    return layers.DepthwiseConv2D(size, padding="same", **options)


def padded(size, pad, **options):
    def call(x):
        x = layers.ZeroPadding2D(pad)(x)
        return conv(size, padding="valid", **options)(x)

    return call


def identity(x):
    return x


def total(*branches):
    return functional(lambda x: layers.Add()([f(x) for f in branches]), *IMAGE)


MERGED = {
    "point": (conv(3), conv(1)),
    "even sizes": (conv(4), conv((2, 3)), conv(1)),
    "identity": (conv(3), identity),
    "twice the input": (conv(3), identity, identity),
    "normalization": (conv(3), conv(1), layers.BatchNormalization()),
    "depthwise": (depthwise(3), depthwise(1), identity),
    "groups": (conv(3, groups=2), conv(1, groups=4), identity),
    "strides on an even and an odd size": (
        conv(3, strides=2),
        conv(1, strides=2),
    ),
    "large strides": (conv(5, strides=3), conv(3, strides=3)),
    "dilation": (conv(3, dilation_rate=2), conv(1), identity),
    "dilated in a dense one": (conv(5), conv(3, dilation_rate=2)),
    "explicit padding": (
        padded(3, 1, strides=2),
        conv(1, strides=2),
        padded(5, 2, strides=2),
    ),
    "causal": None,
}


@pytest.mark.parametrize("case", MERGED)
def test_what_is_merged(case):
    if case == "causal":
        model = functional(
            lambda x: (
                layers.Conv1D(4, 3, padding="causal")(x)
                + layers.Conv1D(4, 1)(x)
            ),
            9,
            4,
        )
    else:
        model = total(*MERGED[case])

    left = kinds_of(model, merge_parallel_convs)

    assert [k for k in left if k != "ZeroPadding2D"] == [
        "DepthwiseConv2D"
        if case == "depthwise"
        else f"Conv{2 - (case == 'causal')}D"
    ]


@pytest.mark.parametrize("shape", [(9,), (5, 4, 6)])
def test_other_numbers_of_axes(shape):
    kind = layers.Conv1D if len(shape) == 1 else layers.Conv3D
    model = functional(
        lambda x: kind(4, 3, padding="same")(x) + kind(4, 1)(x) + x, *shape, 4
    )

    # Two operations: the first sum is what the second one merges.
    assert kinds_of(model, merge_parallel_convs) == [kind.__name__]


def test_dense_layers():
    model = functional(lambda x: layers.Dense(4)(x) + layers.Dense(4)(x) + x, 4)

    assert kinds_of(model, merge_parallel_convs) == ["Dense"]


def test_the_rest_is_still_added():
    def call(x):
        y = layers.ReLU()(x)
        return layers.Add(name="sum")([conv(3)(x), y, conv(1)(x)])

    plain = kinds_of(functional(call, *IMAGE), merge_parallel_convs)

    assert sorted(plain) == ["Add", "Conv2D", "ReLU"]


def test_unknown_sizes():
    model = functional(
        lambda x: layers.Add()([conv(3)(x), conv(1)(x), x]), None, None, 4
    )
    inputs = inputs_like(*IMAGE)

    assert kinds_of(model, merge_parallel_convs, inputs=inputs) == ["Conv2D"]


def test_shared_at_two_sizes_of_different_parity():
    """Where a 1×1 lies in the 3×3 depends on the size it is called on."""
    big, small = conv(3, strides=2), conv(1, strides=2)

    def call(x):
        y = layers.Cropping2D(((1, 0), (1, 0)))(x)
        return [layers.Add()([big(t), small(t)]) for t in (x, y)]

    model = functional(call, *IMAGE)
    randomize(model)
    plain = keras_rep.deploy(model, rules=[merge_parallel_convs], verify=False)

    assert_same_function(model, plain, inputs_like(*IMAGE))


# What must be left alone, each with its reason.

KEPT = {
    "dense and depthwise": (
        (depthwise(3), conv(1)),
        "times the multiply-adds",
    ),
    "other strides": (
        (conv(3), padded(1, ((0, 8), (0, 7)), strides=2)),
        "no taps where",
    ),
    "one beside the other": ((conv((1, 5)), conv((3, 1))), "no taps where"),
    "other taps": (
        (conv(3, dilation_rate=2), conv(2, dilation_rate=2)),
        "no taps where",
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_stays(case):
    branches, message = KEPT[case]
    model = functional(
        lambda x: layers.Add(name="sum")([f(x) for f in branches]), *IMAGE
    )
    randomize(model)

    assert message in reason(model, "sum", merge_parallel_convs)
    assert "Add" in kinds_of(model, merge_parallel_convs)


def test_what_costs_more_is_done_if_asked():
    model = total(depthwise(3), conv(1))

    assert kinds_of(model, merge_parallel_convs) != ["Conv2D"]
    assert kinds_of(model, FREELY) == ["Conv2D"]


def test_strides_on_an_unknown_size_stay():
    model = functional(
        lambda x: layers.Add(name="sum")(
            [conv(3, strides=2)(x), conv(1, strides=2)(x)]
        ),
        None,
        None,
        4,
    )

    assert "no taps where" in reason(model, "sum", merge_parallel_convs)


def test_an_activation_stays():
    model = total(conv(3, activation="relu"), conv(1, activation="relu"))

    assert "Add" in kinds_of(model, merge_parallel_convs)


def test_a_second_user_keeps_a_branch():
    def call(x):
        y = conv(3)(x)
        return [layers.Add()([y, conv(1)(x)]), y]

    assert "Add" in kinds_of(functional(call, *IMAGE), merge_parallel_convs)


def test_different_tensors_stay():
    inputs = [keras.Input(IMAGE), keras.Input(IMAGE)]
    x = layers.Add()([conv(3)(inputs[0]), conv(1)(inputs[1])])

    assert "Add" in kinds_of(keras.Model(inputs, x), merge_parallel_convs)
