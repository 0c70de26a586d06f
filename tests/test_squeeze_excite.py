"""Gates stay behind the one convolution, wherever they stood."""

import keras
import numpy as np
import pytest
from arrays import array, randomize, run
from keras import layers
from test_layers import assert_close

import keras_rep
from keras_rep.layers import QARepConv, RepConv, RMBlock
from keras_rep.report import multiply_adds


def built(**arguments):
    layer = RepConv(8, name="block", activation="relu", **arguments)
    layer.build((None, 9, 8, 8))
    randomize(layer)
    return layer


def gated(x, layer):
    """The published formula, in numpy."""
    reduce, expand = layer.gate.reduce, layer.gate.expand
    hidden = x.mean(axis=(1, 2), keepdims=True)
    hidden = hidden @ array(reduce.kernel)[0, 0] + array(reduce.bias)
    gate = np.maximum(hidden, 0) @ array(expand.kernel)[0, 0]
    return x / (1 + np.exp(-gate - array(expand.bias)))


@pytest.mark.parametrize("position", ["before_activation", "after_activation"])
def test_the_gate_stands_where_the_papers_put_it(position, rng):
    x = rng.normal(size=(2, 9, 8, 8)).astype("float32")
    layer = built(se_ratio=0.5, se_position=position)
    bare = RepConv(8)
    bare.build(x.shape)
    bare.set_weights(layer.get_weights()[: len(bare.weights)])
    branches = run(bare, x)

    if position == "before_activation":
        expected = np.maximum(gated(branches, layer), 0)
    else:
        expected = gated(np.maximum(branches, 0), layer)

    assert_close(run(layer, x), expected)


def test_reserved_channels_have_no_gate(rng):
    x = rng.normal(size=(2, 9, 8, 8)).astype("float32")
    layer = built(se_ratio=0.5, reserve_ratio=0.25)

    outputs = run(layer, x)

    np.testing.assert_array_equal(outputs[..., :2], np.maximum(x[..., :2], 0))
    assert array(layer.gate.expand.bias).shape == (6,)


def test_deployed_it_is_a_model_of_plain_layers():
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            RepConv(8, se_ratio=0.5, activation="relu", name="block"),
        ]
    )
    randomize(model)

    plain = keras_rep.deploy(model)

    conv, gate, activation = plain.layers
    assert (conv.name, gate.name, activation.name) == (
        "block_conv",
        "block_gate",
        "block",
    )
    assert [type(layer).__name__ for layer in gate.layers[1:]] == [
        "GlobalAveragePooling2D",
        "Conv2D",
        "Conv2D",
        "Multiply",
    ]


def test_a_normalization_behind_a_gate_stays():
    """QARepVGG with SE: folding it would be wrong by the gate's factor."""
    model = keras.Sequential(
        [
            keras.Input((9, 8, 8)),
            QARepConv(8, se_ratio=0.5, se_position="after_activation"),
            layers.BatchNormalization(name="behind"),
        ]
    )
    randomize(model)

    plain = keras_rep.deploy(model)
    (row,) = (r for r in keras_rep.explain(model).layers if r.path == "behind")

    assert type(plain.layers[-1]) is layers.BatchNormalization
    assert "its input is not the output of a convolution" in row.remarks[0]


def test_residual_blocks_refuse_a_gate_with_the_reason():
    with pytest.raises(ValueError, match=r"depends on the image.*se_ratio=0.5"):
        RMBlock(8, se_ratio=0.5)


def test_a_gate_has_multiply_adds():
    """Those of two matrix products, of an image's means; 9 · 8 pixels."""
    block = RepConv(8, se_ratio=0.5, activation="relu")
    model = keras.Sequential([keras.Input((9, 8, 3)), block])

    before, after = keras_rep.explain(model).multiply_adds

    assert after == 72 * 9 * 3 * 8 + 8 * 4 + 4 * 8
    assert before == 72 * (9 + 1) * 3 * 8 + 8 * 4 + 4 * 8


def test_a_model_that_stays_has_multiply_adds():
    gate = RepConv(8, se_ratio=0.5)
    gate.build((None, 9, 8, 8))

    plain = gate.gate.make_plain("gate")

    assert multiply_adds(plain, (None, 9, 8, 8)) == 8 * 4 + 4 * 8
