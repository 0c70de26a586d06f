"""Residual blocks: deployed without a sum, exact for every kind of input."""

import itertools

import keras
import numpy as np
import oracle
import pytest
from arrays import array, randomize
from keras import layers
from test_layers import assert_close

import keras_rep
from keras_rep.layers import RMBlock, RMBottleneck, RMInvertedResidual

# The requirement, relative; two to four convolutions in a row.
TOLERANCE = 5e-6
KINDS = [RMBlock, RMBottleneck, RMInvertedResidual]
ACTIVATIONS = [None, "relu", "relu6", "leaky_relu"]
# (input channels, filters, strides); in == out with stride 2 among them.
SHAPES = [(8, 8, 1), (8, 8, 2), (8, 16, 2), (8, 12, 1)]
PADDINGS = ["same", "centered", "valid"]
SIZES = [(9, 8), (10, 11)]
# What precedes the block decides what its input can be.
INPUTS = [None, "relu", "relu6"]

GRID = list(
    itertools.product(KINDS, ACTIVATIONS, SHAPES, PADDINGS, SIZES, INPUTS)
)


def check(kind, activation, shape, padding, size, before):
    channels, filters, strides = shape
    block = kind(filters, 3, strides, padding, activation=activation)
    model = keras.Sequential(
        [keras.Input((*size, 3)), layers.Conv2D(channels, 1), block]
    )
    model.layers[0].activation = keras.activations.get(before)
    randomize(model)
    # Far beyond the cap of ReLU6.
    rng = np.random.default_rng(1)
    x = rng.normal(0.0, 8.0, (2, *size, 3)).astype("float32")

    plain = keras_rep.deploy(model)

    assert_close(array(plain(x)), array(model(x, training=False)), TOLERANCE)
    assert not {"Add", *(type(i).__name__ for i in KINDS)} & set(kinds(plain))


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("arguments", GRID[::17], ids=str)
def test_deployed_and_training_form_agree(arguments):
    check(*arguments)


@pytest.mark.exhaustive
@pytest.mark.parametrize("arguments", GRID, ids=str)
def test_the_whole_grid(arguments):
    check(*arguments)


def test_the_sample_visits_every_value():
    for index in range(6):
        values = {str(arguments[index]) for arguments in GRID}
        assert {str(each[index]) for each in GRID[::17]} == values


def weights(block):
    name = block.name
    return {
        variable.path.partition(f"{name}/")[2]: array(variable).astype(float)
        for variable in block.weights
    }


def conv_norm(x, values, name, strides=(1, 1), groups=1, size=None):
    kernel = values[f"{name}/conv/kernel"]
    geometry = (kernel.shape[:2], strides, (1, 1))
    x = oracle.pad(x, *geometry, "same")
    x = oracle.convolve(x, kernel, strides, groups=groups)
    return oracle.normalize(x, values, f"{name}/norm")


def sampled(x, strides):
    """Pixels under the centre of a 3×3 with "same" padding."""
    geometry = ((3, 3), strides, (1, 1))
    return oracle.centre_pixels(oracle.pad(x, *geometry, "same"), *geometry)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_training_form_is_the_ordinary_residual_block(rng, strides, size):
    x = rng.normal(size=(2, *size, 8)).astype("float32")
    steps = (strides, strides)

    block = RMBlock(8, strides=strides)
    block.build(x.shape)
    randomize(block)
    values = weights(block)
    hidden = np.maximum(conv_norm(x, values, "conv_1", steps), 0)
    shortcut = sampled(x, steps)
    if strides == 2:
        shortcut = conv_norm(shortcut, values, "projection")
    expected = np.maximum(conv_norm(hidden, values, "conv_2") + shortcut, 0)
    assert_close(array(block(x, training=False)), expected)

    block = RMInvertedResidual(8, strides=strides, expansion=3)
    block.build(x.shape)
    randomize(block)
    values = weights(block)
    hidden = np.clip(conv_norm(x, values, "expand"), 0, 6)
    hidden = conv_norm(hidden, values, "depthwise", steps, groups=24)
    expected = conv_norm(np.clip(hidden, 0, 6), values, "project")
    if strides == 1:
        expected = expected + x
    assert_close(array(block(x, training=False)), expected)


@pytest.mark.parametrize(
    ("activation", "before", "expected", "remark"),
    [
        ("relu", "relu", ["Conv2D"] * 2, "leaves as they are"),
        ("relu", None, ["Conv2D", "PReLU", "Conv2D"], "may be negative"),
        ("relu6", "relu6", ["Conv2D"] * 2, "leaves as they are"),
        (
            "relu6",
            "relu",
            ["Conv2D", "DepthwiseConv2D", "Conv2D"],
            "two ReLU because only the others end at 6",
        ),
        (
            "relu6",
            None,
            ["Conv2D", "PReLU", "DepthwiseConv2D", "PReLU", "Conv2D"],
            "two PReLU because only the others end at 6",
        ),
        (None, None, ["Conv2D"] * 2, "leaves as they are"),
    ],
)
def test_the_graph_decides_the_form(activation, before, expected, remark):
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            layers.Conv2D(8, 3, activation=before),
            layers.MaxPooling2D(2),
            RMBlock(8, activation=activation, name="block"),
        ]
    )
    randomize(model)

    plain = keras_rep.deploy(model)
    (row,) = (r for r in keras_rep.explain(model).layers if r.path == "block")

    assert kinds(plain)[2:] == expected
    assert remark in " ".join(row.remarks)


@pytest.mark.parametrize("order", [1, -1])
def test_a_shared_block_serves_all_of_its_inputs(rng, order):
    """Called on a positive and on a negative input, it may assume neither."""
    block = RMBlock(4, name="block")
    inputs = keras.Input((8, 8, 4))
    calls = [layers.ReLU()(inputs), layers.Conv2D(4, 1)(inputs)][::order]
    model = keras.Model(inputs, [block(x) for x in calls])
    randomize(model)
    x = rng.normal(size=(2, 8, 8, 4)).astype("float32")

    plain = keras_rep.deploy(model)

    for received, expected in zip(
        plain(x), model(x, training=False), strict=True
    ):
        assert_close(array(received), array(expected), TOLERANCE)
    assert kinds(plain).count("PReLU") == 1


def test_groups_survive_where_they_can():
    """Eight reserved channels are four groups of two beside the block's."""
    block = RMBottleneck(16, groups=2, name="block")
    block.build((None, 8, 8, 8))

    spatial = block.make_deploy_layers((0, 1))[1]

    assert (spatial.filters, spatial.groups) == (12, 6)


def test_a_row_of_blocks_keeps_its_names():
    inputs = keras.Input((8, 8, 4))
    outputs = RMBlock(4, name="b")(RMBlock(4, name="a")(inputs))
    model = keras.Model(inputs, outputs)
    randomize(model)

    plain = keras_rep.deploy(model)

    assert {"a", "b", "a_conv_1", "b_conv_1"} <= {
        layer.name for layer in plain.layers
    }
    # The second block follows the first one's ReLU.
    assert kinds(plain).count("PReLU") == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RMBlock(8, activation="gelu"), "activation='gelu'"),
        (
            lambda: RMBottleneck(6, reduction=8),
            "reduction=8, hidden=None",
        ),
        (lambda: RMBottleneck(8, groups=4, reduction=4), "groups=4"),
        (lambda: RMBottleneck(8, reduction=0), "reduction=0"),
        (lambda: RMBottleneck(8, hidden=0), "hidden=0"),
        (lambda: RMBottleneck(8, hidden=9, groups=6), "hidden=9 and groups=6"),
        (lambda: RMInvertedResidual(8, groups=2), "groups=2"),
        (lambda: RMInvertedResidual(8, expansion=0), "expansion=0"),
    ],
)
def test_wrong_arguments_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make().build((None, 8, 8, 8))
