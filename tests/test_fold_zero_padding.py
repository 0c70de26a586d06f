"""Zero padding becomes part of the convolution where it is the same."""

import pytest
from keras import layers
from rewriting_helpers import functional, inputs_like, kinds_of, reason

from keras_rep.rules import fold_zero_padding

ODD, EVEN = (9, 7, 4), (8, 6, 4)

FOLDED = {
    "odd": (ODD, 1, lambda: layers.Conv2D(4, 3, strides=2)),
    "even": (EVEN, ((0, 1), (0, 1)), lambda: layers.Conv2D(4, 3, strides=2)),
    "mixed": ((9, 8, 4), ((1, 1), (0, 1)), lambda: layers.Conv2D(4, 3, 2)),
    "depthwise": (ODD, 2, lambda: layers.DepthwiseConv2D(5)),
    "separable": (ODD, 1, lambda: layers.SeparableConv2D(4, 3)),
    "dilated": (EVEN, 2, lambda: layers.Conv2D(4, 3, dilation_rate=2)),
    "one axis": ((9, 4), 1, lambda: layers.Conv1D(4, 3, use_bias=False)),
    "three axes": ((5, 4, 6, 2), 1, lambda: layers.Conv3D(4, 3)),
}
PADDINGS = {
    2: layers.ZeroPadding1D,
    3: layers.ZeroPadding2D,
    4: layers.ZeroPadding3D,
}


def padded(shape, zeros, conv):
    padding = PADDINGS[len(shape)](zeros, name="pad")
    return functional(lambda x: conv()(padding(x)), *shape)


@pytest.mark.parametrize("case", FOLDED)
def test_what_is_folded(case):
    kinds = kinds_of(padded(*FOLDED[case]), fold_zero_padding)

    assert len(kinds) == 1


def test_with_stride_one_the_size_does_not_matter():
    model = padded((None, None, 4), 1, lambda: layers.Conv2D(4, 3))

    assert kinds_of(model, fold_zero_padding, inputs=inputs_like(*ODD)) == [
        "Conv2D"
    ]


STAYS = {
    "other zeros": (EVEN, 1, lambda: layers.Conv2D(4, 3, strides=2)),
    "more zeros": (ODD, 2, lambda: layers.Conv2D(4, 3, name="conv")),
    "unknown size": ((None, None, 4), 1, lambda: layers.Conv2D(4, 3, 2)),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_stays(case):
    model = padded(*STAYS[case])
    inputs = inputs_like(*ODD) if case == "unknown size" else None

    assert kinds_of(model, fold_zero_padding, inputs=inputs) == [
        "ZeroPadding2D",
        "Conv2D",
    ]
    assert "`padding='same'`" in reason(model, "pad", fold_zero_padding)


def test_a_second_user_keeps_the_padding():
    def call(x):
        x = layers.ZeroPadding2D(1)(x)
        return [layers.Conv2D(4, 3)(x), x]

    kinds = kinds_of(functional(call, *ODD), fold_zero_padding)

    assert sorted(kinds) == ["Conv2D", "ZeroPadding2D"]


def test_padding_twice_stays():
    model = functional(
        lambda x: layers.Conv2D(4, 3, padding="same")(
            layers.ZeroPadding2D(1)(x)
        ),
        *ODD,
    )

    assert len(kinds_of(model, fold_zero_padding)) == 2
