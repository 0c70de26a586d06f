"""RepConv over the grid of its arguments, against loops in float64."""

import itertools

import keras
import numpy as np
import oracle
import pytest
from arrays import randomize, run, weights_by_path
from test_layers import assert_close, run_plain

from keras_rep.layers import RepConv

KERNEL_SIZES = [1, 2, 3, 4, 5, 6, 7, (3, 1), (2, 5)]
GEOMETRIES = [(1, 1), (2, 1), (3, 1), ((1, 2), 1), (1, 2), (1, (2, 3))]
PADDINGS = ["same", "valid", "centered"]
GROUPS = [1, 2, 8]
FILTERS = [8, 16]
SIZES = [(20, 19), (19, 20), (20, 20)]

GRID = list(
    itertools.product(
        KERNEL_SIZES, GEOMETRIES, PADDINGS, GROUPS, FILTERS, SIZES
    )
)
# A step that is prime to the number of values of every argument.
SAMPLE = GRID[::47]


def check(kernel_size, geometry, padding, groups, filters, size):
    strides, dilation = geometry
    layer = RepConv(
        filters, kernel_size, strides, padding, None, dilation, groups, "relu"
    )
    x = np.random.default_rng(1).normal(0.5, 1.0, (1, *size, 8))
    x = x.astype("float32")
    layer.build(x.shape)
    randomize(layer)

    expected = oracle.rep_conv(
        x.astype("float64"),
        weights_by_path(layer),
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        padding,
        groups,
    )
    expected = np.maximum(expected, 0)
    received = run(layer, x)

    # Float32 sums of up to 7·7·8 products, and three branches.
    assert_close(received, expected)
    assert_close(run_plain(layer, x), expected)
    # The requirement itself: training form against deployed form.
    assert_close(run_plain(layer, x), received)


@pytest.mark.parametrize("arguments", SAMPLE, ids=str)
def test_training_form_oracle_and_deployed_form_agree(arguments):
    check(*arguments)


@pytest.mark.exhaustive
@pytest.mark.parametrize("arguments", GRID, ids=str)
def test_the_whole_grid(arguments):
    check(*arguments)


def test_the_sample_visits_every_value():
    for values, sampled in zip(
        (KERNEL_SIZES, GEOMETRIES, PADDINGS, GROUPS, FILTERS, SIZES),
        zip(*SAMPLE, strict=True),
        strict=True,
    ):
        assert set(values) == set(sampled)


@pytest.mark.parametrize("padding", ["same", "centered"])
@pytest.mark.parametrize("strides", [1, 2, 3])
def test_sizes_unknown_until_run_time(padding, strides):
    model = keras.Sequential(
        [keras.Input((None, None, 4)), RepConv(4, 3, strides, padding)]
    )
    randomize(model)
    layer = model.layers[0]
    for size in [(9, 10), (10, 9)]:
        x = np.random.default_rng(1).normal(size=(1, *size, 4))

        received = model.predict(x.astype("float32"), verbose=0)

        expected = oracle.rep_conv(
            x,
            weights_by_path(layer),
            (3, 3),
            layer.strides,
            (1, 1),
            padding,
            1,
        )
        assert_close(received, expected)


@pytest.mark.parametrize(
    ("arguments", "channels", "branches"),
    [
        ({"filters": 4}, 4, ["kxk", "point", "identity"]),
        ({"filters": 4}, 3, ["kxk", "point"]),
        ({"filters": 4, "strides": 2}, 4, ["kxk", "point"]),
        ({"filters": 4, "padding": "valid"}, 4, ["kxk", "point"]),
        ({"filters": 4, "kernel_size": 1}, 4, ["kxk", "identity"]),
        (
            {"filters": 4, "padding": "centered", "kernel_size": 2},
            4,
            ["kxk", "point"],
        ),
    ],
    ids=str,
)
def test_which_branches_a_block_has(arguments, channels, branches):
    layer = RepConv(**arguments)
    layer.build((None, 8, 8, channels))

    assert list(layer.branches.branch_names) == branches


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        ({"filters": 16}, ["Conv2D"]),
        ({"filters": 16, "groups": 4}, ["Conv2D"]),
        ({"filters": 16, "groups": 8}, ["DepthwiseConv2D"]),
        ({"filters": 8, "groups": 8, "strides": (1, 2)}, ["Conv2D"]),
        ({"filters": 8, "padding": "centered"}, ["Conv2D"]),
        (
            {"filters": 8, "padding": "centered", "strides": 2},
            ["ZeroPadding2D", "Conv2D"],
        ),
        (
            {"filters": 8, "padding": "centered", "kernel_size": 4},
            ["ZeroPadding2D", "Conv2D"],
        ),
    ],
    ids=str,
)
def test_what_a_block_deploys_to(arguments, kinds):
    layer = RepConv(**arguments, name="stem", activation="relu")
    layer.build((None, 8, 8, 8))

    plain = [
        keras.layers.deserialize(config) for config in layer.get_deploy_config()
    ]

    assert [type(each).__name__ for each in plain] == kinds
    assert plain[-1].name == "stem"
    assert plain[-1].activation is keras.activations.relu


def test_published_parameter_counts():
    """RepVGG-A0: 9,108,968 for training, 8,309,384 deployed (facts [C])."""
    widths = [(48, 1, 3), (48, 2, 48), (96, 4, 48), (192, 14, 96)]
    widths.append((1280, 1, 192))
    training = deployed = 0
    for filters, count, channels in widths:
        for index in range(count):
            strides = 2 if index == 0 else 1
            layer = RepConv(filters, strides=strides)
            layer.build((None, 8, 8, channels))
            training += sum(
                int(np.prod(v.shape)) for v in layer.trainable_variables
            )
            deployed += sum(w.size for w in layer.get_deploy_weights()[0])
            channels = filters
    classifier = 1280 * 1000 + 1000

    assert training + classifier == 9_108_968
    assert deployed + classifier == 8_309_384
