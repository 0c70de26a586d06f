"""The blocks over a grid of arguments, and what their papers state."""

import functools
import itertools

import keras
import numpy as np
import oracle
import oracle_blocks
import pytest
from arrays import array, randomize, run, weights_by_path
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
from keras_rep.window import correlate

# Layer, arguments of its own, reference.
BLOCKS = {
    "rep_reserved": (
        RepConv,
        {"reserve_ratio": 0.4},
        oracle_blocks.rep_reserved,
    ),
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
        # Channels and image size must stay, and a tap lie on the pixel.
        is_odd = kernel_size in (1, 3, 5, (3, 1))
        stays = (padding == "same" or is_odd) and padding != "valid"
        aligned = is_odd or geometry[1] == 1
        return geometry[0] == 1 and stays and aligned and width == (1, 8)
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
SAMPLE = [case for i, grid in enumerate(GRIDS) for case in grid[7 * i :: 137]]


def built(layer, shape=(None, 8, 8, 8)):
    layer.build(shape)
    return layer


def variables(layer):
    """The variables by the paths of `weights_by_path`."""
    return {v.path.partition("/branches/")[2]: v for v in layer.weights}


def assign(layer, values):
    """Sets all variables whose path ends as one of the keys."""
    for path, variable in variables(layer).items():
        for end, value in values.items():
            if path.endswith(end):
                variable.assign(np.full(variable.shape, value, "float32"))


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
    randomize(layer)

    expected = reference(
        x.astype("float64"),
        weights_by_path(layer),
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        padding,
        groups,
    )
    received = run(layer, x)

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


# What a normalization needs to give its input back.
NEUTRAL = {
    "gamma": 1.0,
    "beta": 0.0,
    "moving_mean": 0.0,
    "moving_variance": 1.0 - 1e-5,
}


WITH_IDENTITY = [RepConv, MobileOneConv, OREPAVGGConv, QARepConv]


def without_convolutions(layer):
    """What is left of a block where all kernels are zero: x, or nothing."""
    built(layer)
    randomize(layer)
    assign(layer, {"kernel": 0.0, **NEUTRAL})
    x = image_of(1, 8, 8, 8)
    return run(layer, x), x


@pytest.mark.parametrize("block", WITH_IDENTITY)
@pytest.mark.parametrize(("size", "dilation"), [(3, 1), (4, 1), (5, 2), (1, 1)])
def test_the_identity_branch_is_the_input(block, size, dilation):
    layer = block(8, size, dilation_rate=dilation)

    received, x = without_convolutions(layer)

    assert_close(received, x)


@pytest.mark.parametrize("block", WITH_IDENTITY)
@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": 16},
        {"filters": 8, "strides": 2},
        {"filters": 8, "strides": (1, 2)},
        {"filters": 8, "padding": "valid"},
        # No tap of these two lies on the pixel, so no kernel can pass it on.
        {"filters": 8, "kernel_size": 4, "dilation_rate": 2},
        {"filters": 8, "kernel_size": (3, 2), "dilation_rate": 3},
    ],
    ids=str,
)
def test_no_other_block_has_an_identity_branch(block, arguments):
    received, _ = without_convolutions(block(**arguments))

    np.testing.assert_array_equal(received, 0.0)


@pytest.mark.parametrize("name", BLOCKS)
def test_normalizations_have_the_published_constants(name):
    kind, own, _ = BLOCKS[name]

    layer = kind(8, **own)

    assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


# RepConv with reserved channels, facts of rmnet.md.


@pytest.mark.parametrize("training", [False, True])
def test_reserved_channels_come_out_unchanged(training):
    layer = built(RepConv(8, reserve_ratio=0.4))
    randomize(layer)
    x = image_of(2, 8, 8, 8)

    received = array(layer(x, training=training))

    # int(8 · 0.4) of them.
    np.testing.assert_array_equal(received[..., :3], x[..., :3])
    assert np.abs(received[..., 3:] - x[..., 3:]).max() > 0.1


def test_reserved_channels_deploy_to_a_dirac():
    layer = built(RepConv(8, 5, reserve_ratio=0.4))
    randomize(layer)
    expected = np.zeros((5, 5, 8, 3))
    expected[2, 2, [0, 1, 2], [0, 1, 2]] = 1

    ((kernel, bias),) = layer.get_deploy_weights()

    np.testing.assert_array_equal(kernel[..., :3], expected)
    np.testing.assert_array_equal(bias[:3], 0.0)
    assert np.abs(kernel[..., 3:]).min() > 0
    assert np.abs(bias[3:]).min() > 0


# Asymmetric convolution block, facts of acnet.md.


@pytest.mark.parametrize(
    ("kernel_size", "sizes"),
    [
        (3, {"kxk": (3, 3), "column": (3, 1), "row": (1, 3)}),
        ((3, 5), {"kxk": (3, 5), "column": (3, 1), "row": (1, 5)}),
        (1, {"kxk": (1, 1)}),
    ],
    ids=str,
)
def test_an_asymmetric_block_has_a_row_and_a_column(kernel_size, sizes):
    layer = built(ACBConv(6, kernel_size))

    assert {
        path.split("/")[0]: variable.shape[:2]
        for path, variable in variables(layer).items()
        if path.endswith("kernel")
    } == sizes


def test_an_asymmetric_block_strengthens_the_skeleton():
    layer = built(ACBConv(6))
    randomize(layer)
    assign(layer, {"kxk/conv/kernel": 0.0})

    ((kernel, _),) = layer.get_deploy_weights()

    skeleton = np.zeros((3, 3), bool)
    skeleton[1] = skeleton[:, 1] = True
    np.testing.assert_array_equal(kernel[~skeleton], 0.0)
    assert np.abs(kernel[skeleton]).min() > 0


def test_an_asymmetric_block_can_start_with_small_gains():
    """1/3 for CIFAR, and 1 for ImageNet."""
    third = keras.initializers.Constant(1 / 3)
    for layer, gain in (
        (ACBConv(6), 1.0),
        (ACBConv(6, gamma_initializer=third), np.float32(1 / 3)),
    ):
        weights = weights_by_path(built(layer))
        gammas = [v for k, v in weights.items() if k.endswith("gamma")]

        assert len(gammas) == 3
        np.testing.assert_array_equal(gammas, gain)


# Diverse branch block, facts of dbb.md.


@pytest.mark.parametrize(
    ("arguments", "internal"),
    [
        ({"filters": 16}, 8),
        ({"filters": 16, "groups": 4}, 8),
        ({"filters": 8, "groups": 8}, 16),
        ({"filters": 16, "internal_channels": 12, "groups": 4}, 12),
    ],
    ids=str,
)
def test_channels_inside_of_a_diverse_branch_block(arguments, internal):
    layer = built(DBBConv(**arguments))

    assert variables(layer)["point_kxk/norm/gamma"].shape == (internal,)


@pytest.mark.parametrize("groups", [1, 4])
def test_the_first_point_of_a_diverse_branch_block_starts_as_identity(groups):
    layer = built(DBBConv(16, groups=groups))
    weights = weights_by_path(layer)
    # Only the two fresh normalizations are between branch and convolution.
    own = weights["point_kxk/conv/kernel"] / (1 + 1e-5)

    kernel = layer.branches.point_kxk.to_kernel()

    np.testing.assert_array_equal(
        weights["point_kxk/merged/term/deviation/kernel"], 0.0
    )
    assert_close(kernel.regroup(groups).kernel, own, 1e-7)
    assert_close(kernel.bias, np.zeros(16), 1e-7)


def test_branches_of_a_depthwise_diverse_branch_block():
    names = ["kxk", "average", "point_kxk"]

    depthwise = built(DBBConv(8, groups=8))
    # The paper's condition is on the number of filters, not of channels.
    doubled = built(DBBConv(16, groups=8))

    assert list(depthwise.branches.branch_names) == names
    assert "average/conv/kernel" not in variables(depthwise)
    assert "average/conv/kernel" in variables(doubled)
    assert "point/conv/kernel" in variables(doubled)


@pytest.mark.parametrize("groups", [1, 8])
def test_a_diverse_branch_block_can_start_as_one_branch(groups):
    layer = built(DBBConv(8, groups=groups, single_init=True))
    last = {"point/norm", "average/norm_1", "point_kxk/norm_1"}
    if groups == 8:
        last = {"average/norm", "point_kxk/norm_1"}

    gains = {
        path.removesuffix("/gamma"): set(value)
        for path, value in weights_by_path(layer).items()
        if path.endswith("gamma")
    }

    assert last < set(gains)
    for name, gain in gains.items():
        assert gain == ({0.0} if name in last else {1.0}), name


def test_zeros_outside_count_in_an_average():
    layer = built(DBBConv(8, groups=8))
    assign(layer, {"kernel": 0.0, **NEUTRAL})

    received = array(layer(np.ones((1, 4, 4, 8), "float32"), training=False))

    expected = np.outer([2, 3, 3, 2], [2, 3, 3, 2]) / 9
    assert_close(received[0], np.repeat(expected[..., None], 8, -1))


@pytest.mark.parametrize("groups", [1, 8])
def test_a_diverse_branch_block_pads_with_what_becomes_of_zero(
    monkeypatch, groups
):
    layer = built(DBBConv(8, groups=groups))
    randomize(layer)
    x = image_of(1, 8, 8, 8)

    def reference():
        return oracle_blocks.dbb(
            x, weights_by_path(layer), (3, 3), (1, 1), (1, 1), "same", groups
        )

    expected = reference()
    monkeypatch.setattr(
        oracle_blocks, "pad_with", lambda x, value, *rest: oracle.pad(x, *rest)
    )
    zero_padded = reference()

    received = run(layer, x)
    assert_close(received, expected)
    inside = np.s_[:, 1:-1, 1:-1]
    assert_close(received[inside], zero_padded[inside])
    error = np.abs(received - zero_padded)
    error[inside] = np.inf
    # Every pixel of the border shows it.
    assert error.max(-1).min() > 0.1


def test_in_training_too_the_moving_statistics_hold_outside():
    """Those of after the step; inside, the batch is normalized by itself."""
    layer = built(DBBConv(8))
    randomize(layer)
    # Leaves the branch with the average.
    for name in ("kxk/norm", "point/norm", "point_kxk/norm_1"):
        assign(layer, {f"{name}/gamma": 0.0, f"{name}/beta": 0.0})
    x = image_of(2, 6, 7, 8)

    received = array(layer(x, training=True))

    weights = weights_by_path(layer)

    def by_batch(x, name):
        of_batch = {
            **weights,
            f"{name}/moving_mean": x.mean((0, 1, 2)),
            f"{name}/moving_variance": x.var((0, 1, 2)),
        }
        return oracle.normalize(x, of_batch, name)

    geometry = ((3, 3), (1, 1), (1, 1))
    expected = oracle.convolve(x, weights["average/conv/kernel"])
    outside = oracle.normalize(np.zeros(8), weights, "average/norm")
    expected = oracle_blocks.pad_with(
        by_batch(expected, "average/norm"), outside, *geometry, "same"
    )
    expected = oracle_blocks.average(expected, *geometry)
    # Twice a float32 normalization by a batch of 84 pixels.
    assert_close(received, by_batch(expected, "average/norm_1"), 1e-5)


# MobileOne, facts of mobileone.md.


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_branches_of_mobile_one_are_separate_convolutions(groups, training):
    """Plain Keras layers, fed with slices of the one large kernel."""
    layer = built(MobileOneConv(16, groups=groups))
    randomize(layer)
    x = image_of(4, 6, 7, 8)
    weights = weights_by_path(layer)
    slices = (groups, 4, 16 // groups)
    norm = {"momentum": 0.9, "epsilon": 1e-5}
    convs = [
        layers.Conv2D(16, size, 1, "same", groups=groups, use_bias=False)
        for size in (3, 3, 3, 3, 1)
    ]
    norms = [layers.BatchNormalization(**norm) for _ in convs]
    for conv, each in zip(convs, norms, strict=True):
        conv.build((None, 6, 7, 8))
        each.build((None, 6, 7, 16))
    for j in range(4):
        kernel = weights["kxk/conv/kernel"].reshape(3, 3, -1, *slices)
        convs[j].set_weights([kernel[..., j, :].reshape(3, 3, -1, 16)])
        norms[j].set_weights(
            [
                weights[f"kxk/norm/{name}"].reshape(slices)[:, j].reshape(16)
                for name in NEUTRAL
            ]
        )
    convs[4].set_weights([weights["point/conv/kernel"]])
    norms[4].set_weights([weights[f"point/norm/{name}"] for name in NEUTRAL])
    expected = sum(
        array(norms[j](convs[j](x), training=training)) for j in range(5)
    )

    received = array(layer(x, training=training))

    # Keras' normalization by a batch of 168 pixels sums in another order.
    assert_close(received, expected, 1e-5 if training else 2e-6)
    for j in range(4):
        for name in ("moving_mean", "moving_variance"):
            merged = weights_by_path(layer)[f"kxk/norm/{name}"]
            np.testing.assert_allclose(
                merged.reshape(slices)[:, j].reshape(16),
                array(getattr(norms[j], name)),
                atol=1e-5,
            )


@pytest.mark.parametrize(
    ("arguments", "branches"),
    [
        ({"filters": 8, "groups": 8}, ["kxk", "point", "identity"]),
        ({"filters": 8, "kernel_size": 1}, ["kxk", "identity"]),
        ({"filters": 16, "kernel_size": 1}, ["kxk"]),
        ({"filters": 8, "strides": 2}, ["kxk", "point"]),
    ],
    ids=str,
)
def test_which_branches_mobile_one_has(arguments, branches):
    layer = built(MobileOneConv(**arguments))

    assert list(layer.branches.branch_names) == branches


# QARepVGG, facts of qarepvgg.md.


@pytest.mark.parametrize("strides", [1, 2])
def test_which_normalizations_a_quantization_aware_block_has(strides):
    """One on the k×k branch and one behind; point and identity are raw."""
    layer = built(QARepConv(8, strides=strides))

    assert {path for path in variables(layer) if "moving" not in path} == {
        "sum/kxk/conv/kernel",
        "sum/kxk/norm/gamma",
        "sum/kxk/norm/beta",
        "sum/plain/term/point/kernel",
        "norm/gamma",
        "norm/beta",
    }


def test_the_average_of_a_quantization_aware_block_is_raw():
    layer = QARepConv(8, average=True)

    received, x = without_convolutions(layer)

    geometry = ((3, 3), (1, 1), (1, 1))
    padded = oracle.pad(x, *geometry, "same")
    assert_close(received, x + oracle_blocks.average(padded, *geometry))


# Dirac-parameterized convolution, facts of diracnet.md.


def test_a_dirac_convolution_starts_near_the_identity():
    weights = weights_by_path(built(DiracConv(6)))

    np.testing.assert_array_equal(weights["dirac/alpha"], 1.0)
    np.testing.assert_array_equal(weights["dirac/beta"], np.float32(0.1))


def test_the_noise_of_a_dirac_convolution_has_one_length():
    layer = built(DiracConv(6))
    randomize(layer)
    assign(layer, {**NEUTRAL, "dirac/alpha": 0.0, "dirac/beta": 0.7})

    ((kernel, _),) = layer.get_deploy_weights()

    lengths = np.sqrt(np.square(kernel).sum((0, 1, 2)))
    np.testing.assert_allclose(lengths, 0.7, rtol=1e-6)


@pytest.mark.parametrize(("filters", "groups"), [(6, 1), (12, 1), (12, 2)])
def test_a_dirac_convolution_passes_on_the_channels_that_fit(filters, groups):
    layer = built(DiracConv(filters, (3, 5), groups=groups))
    randomize(layer)
    assign(layer, {**NEUTRAL, "dirac/alpha": 1.0, "dirac/beta": 0.0})
    expected = np.zeros((3, 5, 8 // groups, filters))
    for output in range(filters):
        index = output % (filters // groups)
        if index < 8 // groups:
            expected[1, 2, index, output] = 1

    ((kernel, _),) = layer.get_deploy_weights()

    assert_close(kernel, expected)


# Online re-parameterization, facts of orepa.md.


def gains(layer):
    """The gains by the names of their branches."""
    return {
        path.split("/")[-3]: value
        for path, value in weights_by_path(layer).items()
        if path.endswith("/gain")
    }


@pytest.mark.parametrize(
    ("block", "kernel_size", "expected"),
    [
        (
            OREPAConv,
            3,
            {
                "origin": 0.25,
                "average": 0.25,
                "prior": 0.0,
                "point_kxk": 0.5,
                "point": 1.0,
                "separable": 0.5,
            },
        ),
        (OREPAConv, 1, {"origin": 1.0, "point_point": 0.5}),
        (
            OREPAVGGConv,
            3,
            {
                "origin": 0.25,
                "average": 0.25,
                "prior": 0.0,
                "point_kxk": 0.5,
                "separable": 0.5,
            },
        ),
    ],
    ids=["3x3", "1x1", "vgg"],
)
def test_branches_of_an_online_kernel_start_with_their_gains(
    block, kernel_size, expected
):
    received = gains(built(block(6, kernel_size)))

    assert list(received) == list(expected)
    for name, gain in expected.items():
        np.testing.assert_array_equal(received[name], np.full(6, gain))


@pytest.mark.parametrize(
    ("scaling", "shape"), [("vector", (6,)), ("scalar", (1,)), ("none", None)]
)
def test_gains_are_vectors_scalars_or_missing(scaling, shape):
    received = gains(built(OREPAConv(6, scaling=scaling)))

    assert {gain.shape for gain in received.values()} == (
        set() if shape is None else {shape}
    )


@pytest.mark.parametrize(
    ("groups", "shape"), [(1, (8, 8)), (4, (2, 8)), (8, (1, 16))]
)
def test_more_than_four_groups_double_the_inner_channels(groups, shape):
    layer = built(OREPAConv(16, groups=groups))
    path = "merged/term/point_kxk/sum/deviation/kernel"

    deviation = weights_by_path(layer)[path]

    assert deviation.shape == (1, 1, *shape)
    np.testing.assert_array_equal(deviation, 0.0)


def test_the_frequency_prior_written_out():
    """cos(π (h + ½) (i + 1) / 3) for h = 0, 1, 2: 30°, 90°, 150°, and so on."""
    first = [3**0.5 / 2, 0.0, -(3**0.5) / 2]
    second = [0.5, -1.0, 0.5]
    columns = np.ones(3)
    expected = [
        np.outer(first, columns),
        np.outer(second, columns),
        np.outer(columns, first),
        np.outer(columns, second),
    ]

    received = frequency_filters((3, 3), 4)

    np.testing.assert_allclose(
        received.transpose(2, 0, 1), expected, atol=1e-15
    )


def test_some_frequencies_give_empty_or_constant_filters():
    """Of 1 to 9 along both axes, 3 and 9 vanish; 6 is the average times -1."""
    received = frequency_filters((3, 3), 18)
    largest = np.abs(received).max((0, 1)).reshape(2, 9)
    vanishing = np.zeros((2, 9), bool)
    vanishing[:, [2, 8]] = True

    assert np.abs(largest[vanishing]).max() < 1e-14
    assert largest[~vanishing].min() > 0.8
    np.testing.assert_allclose(received[..., [5, 14]], -1.0, atol=1e-14)


def test_odd_numbers_of_filters_have_fractional_frequencies():
    received = frequency_filters((3, 3), 3)

    # i = 2 of 3 is the first along the rows, of frequency 3 - 3/2.
    wave = np.cos(np.pi * np.array([0.5, 1.5, 2.5]) * 1.5 / 3)
    np.testing.assert_allclose(received[..., 2], [wave] * 3, atol=1e-15)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("block", "arguments", "count"),
    [
        (OREPAConv, {"filters": 6, "strides": 2}, 1),
        (OREPAConv, {"filters": 8, "kernel_size": 5, "groups": 8}, 1),
        (OREPAStemConv, {"filters": 6, "kernel_size": 7, "strides": 2}, 1),
        # 3×3, 3×1 and 1×3, each with a normalization of its own.
        (ACBConv, {"filters": 6}, 3),
    ],
    ids=["orepa", "depthwise", "stem", "acb"],
)
def test_an_online_kernel_takes_one_convolution(
    monkeypatch, block, arguments, count, training
):
    layer = built(block(**arguments))
    calls = []

    def spy(image, kernel, grid):
        if kernel.kernel_size != (1, 1):
            calls.append(kernel.kernel_size)
        return correlate(image, kernel, grid)

    # Every convolution of an image passes here, on every backend.
    monkeypatch.setattr("keras_rep.window.correlate", spy)

    layer(image_of(2, 8, 8, 8), training=training)

    assert len(calls) == count


def test_an_online_kernel_costs_what_a_plain_one_costs():
    layer = built(OREPAConv(6, 3, 2))

    assert layer.multiply_adds((None, 8, 8, 8)) == 3 * 3 * 8 * 6 * 4 * 4


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_an_online_kernel_without_normalization(kernel_size):
    layer = built(OREPAConv(6, kernel_size, post_norm=False))
    randomize(layer)

    ((_, bias),) = layer.get_deploy_weights()

    assert all(path.endswith(("kernel", "gain")) for path in variables(layer))
    np.testing.assert_array_equal(bias, 0.0)


@pytest.mark.parametrize(
    ("filters", "shapes"),
    [
        (12, [(8, 8), (8, 12)]),
        (8, [(8, 8), (8, 8)]),
        (6, [(8, 6), (6, 6)]),
    ],
)
def test_the_square_point_of_two_starts_as_identity(filters, shapes):
    weights = weights_by_path(built(OREPAConv(filters, 1)))
    path = "merged/term/point_point/"
    pair = [weights[f"{path}{name}/kernel"] for name in ("conv", "conv_1")]
    square = 0 if filters > 8 else 1

    assert [kernel.shape[2:] for kernel in pair] == shapes
    np.testing.assert_array_equal(pair[square][0, 0], np.eye(shapes[square][0]))
    assert np.abs(pair[1 - square]).min() > 0


@pytest.mark.parametrize(
    ("block", "arguments", "bounds"),
    [
        (
            OREPAConv,
            {},
            {
                "origin/conv": (6 / 72) ** 0.5,
                "average/conv": (6 / 8) ** 0.5,
                "prior/conv": (6 / 8) ** 0.5,
                "point_kxk/conv": (6 / 72) ** 0.5,
                "point/conv": (6 / 8) ** 0.5,
                "separable/conv": (6 / 9) ** 0.5,
                "separable/conv_1": (6 / 64) ** 0.5,
            },
        ),
        (
            OREPAConv,
            {"kernel_size": 1},
            {
                "origin/conv": (3 / 8) ** 0.5,
                "point_point/conv_1": (3 / 8) ** 0.5,
            },
        ),
        (
            OREPAVGGConv,
            {},
            {
                "origin/conv": (3 / 72) ** 0.5,
                "separable/conv": (3 / 9) ** 0.5,
                "separable/conv_1": (3 / 64) ** 0.5,
            },
        ),
        # PyTorch's default, of all blocks but OREPA's.
        (DBBConv, {}, {"kxk/conv": 72**-0.5, "average/conv": 8**-0.5}),
        (
            MobileOneConv,
            {"groups": 8},
            {"kxk/conv": 1 / 3, "point/conv": 1.0},
        ),
    ],
    ids=["orepa", "orepa_1x1", "orepa_vgg", "dbb", "mobile_one"],
)
def test_kernels_start_within_the_published_bounds(block, arguments, bounds):
    weights = weights_by_path(built(block(64, **arguments)))
    for end, bound in bounds.items():
        (kernel,) = (
            value
            for path, value in weights.items()
            if f"/{path}".endswith(f"/{end}/kernel")
        )
        # Of 64 uniform values or more, one comes close to the bound.
        assert 0.9 * bound < np.abs(kernel).max() <= bound * 1.0001, end


def test_a_deep_stem_is_the_sequence_of_its_convolutions():
    layer = OREPAStemConv(6, 7, 2, "valid", scaling="none")
    built(layer, (None, 12, 13, 3))
    randomize(layer)
    # Leaves one 3×3 kernel of every sum.
    assign(
        layer,
        {
            f"{name}/kernel": 0.0
            for name in (
                "average/conv",
                "prior/conv",
                "point_kxk/conv",
                "point/conv",
                "separable/conv",
            )
        },
    )
    weights = weights_by_path(layer)
    x = image_of(2, 12, 13, 3)

    expected = x
    for name, strides in (("sum", 1), ("sum_1", 1), ("sum_2", 2)):
        kernel = weights[f"merged/term/{name}/origin/conv/kernel"]
        expected = oracle.convolve(expected, kernel, (strides, strides))
    expected = oracle.normalize(expected, weights, "norm")

    assert_close(run(layer, x), expected)
    assert_close(run_plain(layer, x), expected)


@pytest.mark.parametrize(("kernel_size", "count"), [(3, 1), (5, 2), (7, 3)])
def test_how_many_kernels_a_deep_stem_has(kernel_size, count):
    layer = built(OREPAStemConv(6, kernel_size), (None, 12, 12, 3))
    shapes = [
        variable.shape
        for path, variable in variables(layer).items()
        if path.endswith("origin/conv/kernel")
    ]

    assert shapes == [(3, 3, 3, 6), (3, 3, 6, 6), (3, 3, 6, 6)][:count]


def test_branches_of_an_online_vgg_block():
    """Five in the kernel; three normalizations, or two without identity."""
    for strides, norms in (
        (1, {"kxk/norm", "point/norm", "identity"}),
        (2, {"kxk/norm", "point/norm"}),
    ):
        paths = variables(built(OREPAVGGConv(8, strides=strides)))

        assert {
            path.removesuffix("/gamma")
            for path in paths
            if path.endswith("gamma")
        } == norms
        assert {
            path.split("/")[3]
            for path in paths
            if path.startswith("kxk/merged")
        } == {"origin", "average", "prior", "point_kxk", "separable"}


# Published numbers of parameters.


@functools.cache
def sizes(block, filters, channels, kernel_size=3, strides=1, **own):
    """Trainable and deployed parameters of one block."""
    layer = block(
        filters, kernel_size, strides, kernel_initializer="zeros", **own
    )
    built(layer, (None, 32, 32, channels))
    trainable = sum(int(np.prod(v.shape)) for v in layer.trainable_variables)
    deployed = sum(w.size for ws in layer.get_deploy_weights() for w in ws)
    return np.array([trainable, deployed])


def conv_norm(filters, channels, kernel_size):
    """A layer that stays plain, with its normalization."""
    return channels * filters * kernel_size**2 + 2 * filters


def classifier(channels):
    return channels * 1000 + 1000


def resnet(depths, block, stem, point=None):
    """Trainable parameters of a ResNet, with bottlenecks if given a point."""
    total, channels = stem, 64
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        outputs = width if point is None else 4 * width
        for index in range(depth):
            strides = 2 if stage and index == 0 else 1
            if point is None:
                total += block(width, channels, strides)
                total += block(width, width, 1)
            else:
                total += point(width, channels) + point(outputs, width)
                total += block(width, width, strides)
            if strides == 2 or channels != outputs:
                shortcut = point or (lambda o, i: conv_norm(o, i, 1))
                total += shortcut(outputs, channels)
            channels = outputs
    return total + classifier(channels)


@pytest.mark.parametrize(
    ("depths", "point", "millions"),
    [
        ((2, 2, 2, 2), None, 26.29),
        ((3, 4, 6, 3), None, 49.90),
        ((3, 4, 6, 3), lambda o, i: conv_norm(o, i, 1), 40.68),
    ],
    ids=["resnet18", "resnet34", "resnet50"],
)
def test_published_sizes_of_diverse_branch_nets(depths, point, millions):
    received = resnet(
        depths,
        lambda filters, channels, strides: sizes(
            DBBConv, filters, channels, 3, strides
        )[0],
        conv_norm(64, 3, 7),
        point,
    )

    assert round(received / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("depths", "is_deep", "millions"),
    [
        ((2, 2, 2, 2), False, 37.76),
        ((3, 4, 6, 3), False, 71.72),
        ((3, 4, 6, 3), True, 68.58),
    ],
    ids=["resnet18", "resnet34", "resnet50"],
)
def test_published_sizes_of_online_nets(depths, is_deep, millions):
    received = resnet(
        depths,
        lambda filters, channels, strides: sizes(
            OREPAConv, filters, channels, 3, strides
        )[0],
        sizes(OREPAStemConv, 64, 3, 7, 2)[0],
        (lambda o, i: sizes(OREPAConv, o, i, 1)[0]) if is_deep else None,
    )

    assert round(received / 1e6, 2) == millions


A0 = (48, 48, 96, 192, 1280)
A1 = (64, 64, 128, 256, 1280)


def repvgg(block, widths, depths):
    total, channels = 0, 3
    for width, depth in zip(widths, depths, strict=True):
        for index in range(depth):
            strides = 2 if index == 0 else 1
            total += sizes(block, width, channels, 3, strides)[0]
            channels = width
    return total + classifier(channels)


def test_published_sizes_of_quantization_aware_nets():
    assert repvgg(QARepConv, A0, (1, 2, 4, 14, 1)) == 9_103_304
    assert repvgg(QARepConv, A1, (1, 4, 6, 16, 1)) == 15_808_616


@pytest.mark.parametrize(("widths", "millions"), [(A0, 24.75), (A1, 39.71)])
def test_published_sizes_of_online_vgg_nets(widths, millions):
    received = repvgg(OREPAVGGConv, widths, (1, 2, 4, 14, 1))

    assert round(received / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("widths", "count", "millions"),
    [
        ((48, 48, 128, 256, 1024), 4, (5.293, 2.079)),
        ((64, 96, 192, 512, 1280), 1, (4.825, 4.765)),
        ((64, 96, 256, 640, 2048), 1, (7.885, 7.808)),
        ((64, 128, 320, 768, 2048), 1, (10.171, 10.078)),
    ],
    ids=["S0", "S1", "S2", "S3"],
)
def test_published_sizes_of_mobile_one(widths, count, millions):
    channels = widths[0]
    total = sizes(MobileOneConv, channels, 3, 3, 2, conv_branches=1)
    for width, depth in zip(widths[1:], (2, 8, 10, 1), strict=True):
        for index in range(depth):
            strides = 2 if index == 0 else 1
            own = {"conv_branches": count}
            total = total + sizes(
                MobileOneConv,
                channels,
                channels,
                3,
                strides,
                groups=channels,
                **own,
            )
            total = total + sizes(MobileOneConv, width, channels, 1, **own)
            channels = width
    total = total + classifier(channels)

    assert tuple(np.round(total / 1e6, 3)) == millions


@pytest.mark.parametrize(
    ("depth", "ratio", "millions"),
    [
        (2, 0.0, (16.23, 14.64)),
        (2, 0.25, (14.49, 14.64)),
        (4, 0.0, (30.18, 27.18)),
        (8, 0.0, (58.08, 52.25)),
        (8, 0.5, (44.13, 52.25)),
        (16, 0.0, (113.88, 102.40)),
    ],
)
def test_published_sizes_of_nets_that_reserve_channels(depth, ratio, millions):
    """Blocks with and without reserved channels in turn."""
    total = sizes(RepConv, 64, 3, 3, 2) + sizes(RepConv, 64, 64, 3, 2)
    for width in (64, 128, 256, 512):
        if width > 64:
            total = total + sizes(RepConv, width, width // 2, 3, 2)
        reserving = sizes(RepConv, width, width, reserve_ratio=ratio)
        ordinary = sizes(RepConv, width, width)
        total = total + depth * (reserving + ordinary)
    total = total + classifier(512)

    assert tuple(np.round(total / 1e6, 2)) == millions


@pytest.mark.parametrize(
    ("depths", "millions"), [((2, 2, 2, 2), 11.52), ((3, 4, 6, 3), 21.64)]
)
def test_published_sizes_of_dirac_nets(depths, millions):
    received = resnet(
        depths,
        lambda filters, channels, strides: sizes(DiracConv, filters, channels)[
            0
        ],
        conv_norm(64, 3, 7),
    )
    # These nets have no shortcuts.
    for width in (128, 256, 512):
        received -= conv_norm(width, width // 2, 1)

    assert round(received / 1e6, 2) == millions


# Wrong arguments.


@pytest.mark.parametrize(
    ("block", "arguments", "parts"),
    [
        (
            OREPAConv,
            {"scaling": "matrix"},
            ("scaling='matrix'", "'vector', 'scalar', 'none'", "Use 'vector'"),
        ),
        (
            OREPAVGGConv,
            {"scaling": None},
            ("scaling=None", "'vector', 'scalar', 'none'", "Use 'vector'"),
        ),
        (
            OREPAStemConv,
            {"kernel_size": 4},
            ("kernel_size=(4, 4)", "odd size", "Use `OREPAConv`"),
        ),
        (
            OREPAStemConv,
            {"kernel_size": (3, 5)},
            ("kernel_size=(3, 5)", "square", "Use `OREPAConv`"),
        ),
        (
            OREPAStemConv,
            {"kernel_size": 1},
            ("kernel_size=(1, 1)", "3, 5, 7", "Use `OREPAConv`"),
        ),
        (
            DBBConv,
            {"internal_channels": 0},
            (
                "internal_channels=0",
                "Expected a positive integer",
                "Set `internal_channels` to 1 or more",
            ),
        ),
        (
            DBBConv,
            {"internal_channels": 6, "groups": 4},
            (
                "internal_channels=6 and groups=4",
                "`internal_channels` must be divisible",
                "Use a multiple of 4",
            ),
        ),
        (
            MobileOneConv,
            {"conv_branches": 0},
            (
                "conv_branches=0",
                "Expected a positive integer",
                "Set `conv_branches` to 1 or more",
            ),
        ),
        (
            RepConv,
            {"reserve_ratio": -0.1},
            ("reserve_ratio=-0.1", "from 0 to below 1", "Set it to 0"),
        ),
        (
            RepConv,
            {"reserve_ratio": 1.0},
            ("reserve_ratio=1.0", "from 0 to below 1", "Set it to 0"),
        ),
        (
            RepConv,
            {"reserve_ratio": 0.5, "strides": 2},
            (
                "reserve_ratio=0.5",
                "strides=(2, 2)",
                "Expected a layer that keeps channels and image size",
                "Set `reserve_ratio=0`",
            ),
        ),
        (
            RepConv,
            {"reserve_ratio": 0.5, "groups": 2},
            ("groups=2", "with one group", "Set `reserve_ratio=0`"),
        ),
        (
            RepConv,
            {"reserve_ratio": 0.5, "filters": 16},
            ("filters=16", "keeps channels", "Set `reserve_ratio=0`"),
        ),
        (
            # No tap lies on the pixel that would have to be passed on.
            RepConv,
            {"reserve_ratio": 0.5, "kernel_size": 4, "dilation_rate": 2},
            ("reserve_ratio=0.5", "Expected", "Set `reserve_ratio=0`"),
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_wrong_arguments_are_explained(block, arguments, parts):
    """What was received, what is expected, how to mend it."""
    with pytest.raises(ValueError, match="Received: ") as caught:
        built(block(**{"filters": 8, **arguments}))

    for part in parts:
        assert part in str(caught.value)
