"""Residual blocks of any graph become straight rows of convolutions."""

import functools

import keras
import numpy as np
import pytest
from arrays import array, randomize, run
from keras import layers, ops
from residual_nets import (
    basic_block,
    bottleneck,
    conv,
    inverted_residual,
    net,
    pre_activation_block,
    rep_vgg_block,
)
from rewriting_helpers import functional, inputs_like, reason
from test_deploy import assert_same_function, kinds
from test_layers import assert_close

import keras_rep
from keras_rep.rules import DEFAULT_RULES, remove_residuals

ALL = (*DEFAULT_RULES, remove_residuals)
IMAGE = (9, 8, 4)

BLOCKS = {
    "basic": basic_block,
    "bottleneck": bottleneck,
    "pre-activation": pre_activation_block,
    "inverted": inverted_residual,
    "RepVGG": rep_vgg_block,
}


def straightened(model, inputs=None, **options):
    """The model without residuals; checks that nothing is added any more."""
    randomize(model)
    plain = keras_rep.remove_residuals(model, verify=False, **options)
    inputs = inputs_like(*model.input_shape[1:]) if inputs is None else inputs
    # Values beyond the caps of activations, and negative ones.
    for scale in (1.0, 8.0):
        assert_same_function(model, plain, scale * inputs)
    return plain


def sums(model):
    operations = [type(each).__name__ for each in model.operations]
    return operations.count("Add")


@pytest.mark.parametrize("block", BLOCKS)
def test_nothing_is_added(block):
    assert sums(straightened(net(BLOCKS[block]))) == 0


@pytest.mark.parametrize("shape", [(16, 16, 3), (15, 17, 3), (16, 15, 3)])
@pytest.mark.parametrize("block", ["basic", "pre-activation"])
def test_odd_and_even_sizes(block, shape):
    assert sums(straightened(net(BLOCKS[block], shape))) == 0


ACTIVATIONS = {
    "ReLU": (layers.ReLU, []),
    "none": (None, []),
    "LeakyReLU": (lambda: layers.LeakyReLU(0.2), ["PReLU"]),
    "LeakyReLU 0.1": (lambda: layers.LeakyReLU(0.1), ["PReLU"]),
    "ReLU6": (lambda: layers.ReLU(6.0), []),
    "ReLU 4": (lambda: layers.ReLU(4.0), ["DepthwiseConv2D"]),
    "operation": (lambda: ops.relu, []),
    "operation with arguments": (lambda: keras.activations.relu, []),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_between(activation):
    make, extra = ACTIVATIONS[activation]
    model = net(
        functools.partial(basic_block, activation=make), stem_activation=make
    )

    plain = straightened(model)

    assert sums(plain) == 0
    others = {"InputLayer", "Conv2D", "GlobalAveragePooling2D", "Dense"}
    left = set(kinds(plain)) - others - {"ReLU", "LeakyReLU"}
    assert left == set(extra)


def test_an_input_that_may_be_negative_needs_prelu():
    def call(x):
        y = conv(x, 6, activation=layers.ReLU)
        return layers.Add(name="sum")([x, conv(y, 4)])

    plain = straightened(functional(call, *IMAGE))

    assert kinds(plain)[1:4] == ["Conv2D", "PReLU", "Conv2D"]


def test_mobilenet_becomes_its_first_version():
    """Rows of depthwise and pointwise convolutions, and nothing else."""
    model = net(
        functools.partial(inverted_residual, activation=layers.ReLU),
        stem_activation=layers.ReLU,
    )
    randomize(model)
    merge = functools.partial(
        keras_rep.rules.merge_linear_chains, max_growth=np.inf
    )

    plain = keras_rep.deploy(model, rules=[*ALL, merge], verify=False)

    assert_same_function(model, plain, inputs_like(17, 16, 3))
    rows = [kind for kind in kinds(plain) if "Conv" in kind]
    assert rows == ["Conv2D", *["Conv2D", "DepthwiseConv2D"] * 4, "Conv2D"]


def test_a_sampling_shortcut():
    """As in `keras.applications.ResNet50V2`."""

    def call(x):
        y = conv(x, 6, 1, 1, layers.ReLU)
        y = layers.ZeroPadding2D(1)(y)
        y = layers.Conv2D(4, 3, strides=2)(y)
        return layers.Add()([layers.MaxPooling2D(1, strides=2)(x), y])

    assert sums(straightened(functional(call, *IMAGE))) == 0


def test_a_projection_of_several_taps():
    def call(x):
        y = conv(conv(x, 6, 3, 1, layers.ReLU), 5, 3, 2)
        return layers.Add()([layers.Conv2D(5, 3, 2, "same")(x), y])

    assert sums(straightened(functional(call, *IMAGE))) == 0


def test_shared_blocks_serve_all_of_their_inputs():
    first, relu, second = (
        layers.Conv2D(4, 3, padding="same"),
        layers.ReLU(),
        layers.Conv2D(4, 3, padding="same"),
    )

    def block(x):
        return layers.Add()([x, second(relu(first(x)))])

    def call(x):
        y = layers.ReLU()(x)
        return layers.Subtract()([block(x), block(y)])

    plain = straightened(functional(call, *IMAGE))

    assert sums(plain) == 0
    assert kinds(plain).count("Conv2D") == 2


def test_blocks_inside_nested_models():
    inner_inputs = keras.Input(IMAGE)
    inner = keras.Model(inner_inputs, basic_block(inner_inputs, 4))
    model = functional(lambda x: inner(inner(x)), *IMAGE)

    plain = straightened(model)

    assert sums(plain.layers[1]) == 0


def test_unknown_sizes():
    model = functional(
        lambda x: basic_block(basic_block(x, 4), 4), None, None, 4
    )

    assert sums(straightened(model, inputs_like(*IMAGE))) == 0


def test_channels_first(backend):
    if backend == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on a CPU")

    def call(x):
        options = {"padding": "same", "data_format": "channels_first"}
        y = layers.Conv2D(6, 3, **options)(x)
        y = layers.ReLU()(layers.BatchNormalization(axis=1)(y))
        y = layers.Conv2D(4, 3, **options)(y)
        return layers.Add()([layers.BatchNormalization(axis=1)(y), x])

    assert sums(straightened(functional(call, 4, 9, 8))) == 0


# What it costs.


def explained(model):
    randomize(model)
    report = keras_rep.explain(model, rules=ALL)
    return {row.path: row.remarks for row in report.layers}


def test_the_report_says_what_it_costs():
    def call(x):
        y = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
        y = layers.Conv2D(4, 3, padding="same")(y)
        return layers.Add(name="sum")([x, y])

    (remark,) = explained(functional(call, *IMAGE))["sum"]

    # 72 positions; 9 taps; 4 + 6 channels between the two.
    before, after = 9 * 4 * 6 * 2, 9 * 4 * 10 * 2
    assert f"multiply-adds {before * 72:,} → {(after + 10) * 72:,}" in remark
    assert f"parameters {before + 10:,} → {after + 24:,}" in remark
    assert "memory access" in remark
    assert "4 channels reserved, kept by PReLU" in remark


def test_only_what_pays():
    model = net(basic_block)
    randomize(model)

    plain = keras_rep.remove_residuals(model, max_growth=1.0)
    report = keras_rep.explain(
        model,
        rules=[
            *DEFAULT_RULES,
            functools.partial(remove_residuals, max_growth=1.0),
        ],
    )

    assert sums(plain) == 4
    stays = [why for path, why in report.kept.items() if "add" in path]
    assert len(stays) == 4
    assert all("above max_growth=1: multiply-adds" in why[0] for why in stays)


def test_rep_vgg_pays():
    assert sums(straightened(net(rep_vgg_block), max_growth=1.0)) == 0


def test_the_limit_is_what_the_block_takes():
    model = net(inverted_residual)
    randomize(model)

    counts = [
        sums(keras_rep.remove_residuals(model, max_growth=limit, verify=False))
        for limit in (1.0, 1.2, 3.0)
    ]

    assert counts[0] > counts[-1] == 0


# What must be left alone, each with its reason.


def gated(x):
    y = conv(x, 4)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    return layers.Multiply(name="gate")([y, layers.Dense(4)(gate)])


def swish(x):
    return conv(
        layers.Conv2D(4, 3, padding="same", activation="silu", name="act")(x), 4
    )


def swish_layer(x):
    return conv(layers.Activation("silu", name="act")(conv(x, 4)), 4)


def pinned(x):
    y = conv(x, 4, activation=layers.ReLU)
    return layers.BatchNormalization(name="norm")(y, training=True)


REFUSED = {
    "gate": (gated, "'gate' (of type Multiply) stands in the branch"),
    "function": (swish, "the activation of 'act' cannot be kept"),
    "layer": (swish_layer, "cannot be kept from single channels"),
    "pinned": (pinned, "'norm' (of type BatchNormalization) stands"),
    "activated": (
        lambda x: layers.ReLU()(conv(conv(x, 6), 4)),
        "an activation stands in front of it",
    ),
    "pooling": (
        lambda x: layers.MaxPooling2D(3, 1, "same", name="pool")(conv(x, 4)),
        "'pool' (of type MaxPooling2D) stands in the branch",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_stays(case):
    branch, message = REFUSED[case]
    model = functional(lambda x: layers.Add(name="sum")([x, branch(x)]), *IMAGE)
    randomize(model)

    assert message in reason(model, "sum", *ALL)


def test_a_second_user_inside_the_branch():
    def call(x):
        y = layers.Conv2D(4, 3, padding="same", activation="relu", name="in")(x)
        z = layers.Conv2D(4, 3, padding="same")(y)
        return [layers.Add(name="sum")([x, z]), y]

    model = functional(call, *IMAGE)

    assert "the output of 'in' has another user" in reason(model, "sum", *ALL)


def test_two_different_tensors():
    inputs = [keras.Input(IMAGE), keras.Input(IMAGE)]
    branches = [conv(conv(x, 4, activation=layers.ReLU), 4) for x in inputs]
    model = keras.Model(inputs, layers.Add(name="sum")(branches))
    randomize(model)

    assert "no convolutions around one tensor" in reason(model, "sum", *ALL)


def test_a_stride_on_an_unknown_size():
    def call(x):
        y = conv(conv(x, 4, activation=layers.ReLU), 4, 3, 2)
        return layers.Add(name="sum")([conv(x, 4, 1, 2), y])

    model = functional(call, None, None, 4)
    randomize(model)

    assert "is known to lie on the pixel" in reason(model, "sum", *ALL)


def test_outputs_are_verified_and_names_kept():
    model = net(basic_block)
    randomize(model)

    plain = keras_rep.remove_residuals(model)

    assert plain.output_names == model.output_names
    x = inputs_like(17, 16, 3)
    assert_close(array(plain(x)), array(model(x)), 5e-6)


# The published nets, at the smallest size that they take.


def resnet18():
    inputs = keras.Input((64, 64, 3))
    x = conv(inputs, 64, 7, 2, layers.ReLU)
    x = layers.MaxPooling2D(3, 2, "same")(x)
    for filters in (64, 128, 256, 512):
        x = basic_block(x, filters, 1 if filters == 64 else 2)
        x = basic_block(x, filters)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def application(name):
    return getattr(keras.applications, name)(
        weights=None,
        input_shape=(64, 64, 3),
        classes=10,
        classifier_activation=None,
    )


PUBLISHED = {
    "ResNet-18": resnet18,
    "ResNet-50": lambda: application("ResNet50"),
    "pre-activation ResNet-50": lambda: application("ResNet50V2"),
    "MobileNetV2": lambda: application("MobileNetV2"),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_nets(name):
    model = PUBLISHED[name]()
    # Gains near one, so that dozens of layers neither explode nor die out.
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if "gamma" in variable.name or "variance" in variable.name:
            variable.assign(rng.uniform(0.7, 1.3, variable.shape))
        elif "kernel" not in variable.name:
            variable.assign(rng.normal(0.0, 0.3, variable.shape))

    plain = keras_rep.remove_residuals(model, verify=False)

    assert sums(plain) == 0
    # Rounding adds up over fifty layers and more.
    x = inputs_like(64, 64, 3)
    assert_close(run(plain, x), run(model, x), 1e-5)
