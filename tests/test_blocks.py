"""The blocks over a grid of arguments, and what their papers state."""

import functools
import itertools

import keras
import numpy as np
import oracle
import oracle_blocks
import pytest
from arrays import array, randomize, weights_by_path
from keras import layers
from test_layers import assert_close, run_plain

from keras_rep.layers import (
    ACBConv,
    DBBConv,
    DiracConv,
    MobileOneConv,
    OREPAConv,
    OREPAStemConv,
    OREPAVGGConv,
    QARepConv,
    RepConv,
)
from keras_rep.layers.online_layer import frequency_filters

# Layer, arguments of its own, reference.
BLOCKS = {
    "acb": (ACBConv, {}, oracle_blocks.acb),
    "dbb": (DBBConv, {}, oracle_blocks.dbb),
    "dbb_wide": (DBBConv, {"internal_channels": 24}, oracle_blocks.dbb),
    "mobile_one": (
        MobileOneConv,
        {"conv_branches": 3},
        functools.partial(oracle_blocks.mobile_one, count=3),
    ),
    "qarep": (QARepConv, {}, oracle_blocks.qarep),
    "qarep_average": (
        QARepConv,
        {"average": True},
        functools.partial(oracle_blocks.qarep, with_average=True),
    ),
    "dirac": (DiracConv, {}, oracle_blocks.dirac),
    "orepa": (OREPAConv, {}, oracle_blocks.orepa),
    "orepa_bare": (
        OREPAConv,
        {"scaling": "none", "post_norm": False},
        oracle_blocks.orepa,
    ),
    "orepa_stem": (OREPAStemConv, {}, oracle_blocks.orepa_stem),
    "orepa_vgg": (
        OREPAVGGConv,
        {"scaling": "scalar"},
        oracle_blocks.orepa_vgg,
    ),
    "rep_reserved": (
        RepConv,
        {"reserve_ratio": 0.4},
        oracle_blocks.rep_reserved,
    ),
}
KERNEL_SIZES = [1, 3, 4, 5, (2, 5), (3, 1)]
GEOMETRIES = [(1, 1), (2, 1), (3, 1), ((1, 2), 1), (1, 2)]
PADDINGS = ["same", "valid", "centered"]
# Groups and filters, of 8 input channels.
WIDTHS = [(1, 8), (1, 6), (2, 8), (8, 8), (8, 16)]
SIZES = [(11, 13), (12, 10)]


def is_allowed(name, kernel_size, geometry, padding, width, size):
    if name == "orepa_stem":
        return kernel_size in (3, 5)
    if name == "rep_reserved":
        # The block must keep channels and image size, with one group.
        return geometry[0] == 1 and padding == "same" and width == (1, 8)
    return True


GRIDS = [
    [
        case
        for case in itertools.product(
            [name], KERNEL_SIZES, GEOMETRIES, PADDINGS, WIDTHS, SIZES
        )
        if is_allowed(*case)
    ]
    for name in BLOCKS
]
GRID = [case for grid in GRIDS for case in grid]
# A step that is prime to the number of values of every argument, and another
# start for every block.
SAMPLE = [case for i, grid in enumerate(GRIDS) for case in grid[i::157]]


def built(block, shape, seed=0):
    block.build(shape)
    randomize(block, seed)
    return block


def image_of(*shape):
    rng = np.random.default_rng(1)
    return rng.normal(0.5, 1.0, shape).astype("float32")


def check(name, kernel_size, geometry, padding, width, size):
    kind, own, reference = BLOCKS[name]
    strides, dilation = geometry
    groups, filters = width
    x = image_of(1, *size, 8)
    layer = kind(
        filters,
        kernel_size,
        strides,
        padding,
        dilation_rate=dilation,
        groups=groups,
        **own,
    )
    built(layer, x.shape)

    expected = reference(
        x.astype("float64"),
        weights_by_path(layer),
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        padding,
        groups,
    )
    received = array(layer(x, training=False))

    # Float32 sums of some hundred products, in up to six branches.
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
        (BLOCKS, KERNEL_SIZES, GEOMETRIES, PADDINGS, WIDTHS, SIZES),
        zip(*SAMPLE, strict=True),
        strict=True,
    ):
        assert set(values) == set(sampled)
