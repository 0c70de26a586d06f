"""Plain convolutions swapped for rep layers: same function, then same layers.

At step 0 a new model equals the old one; trained and deployed it has the
layers of the deployed old one.
"""

import functools

import keras
import numpy as np
import pytest
from arrays import array, randomize
from keras import layers, ops, tree
from test_layers import assert_close

import keras_rep
from keras_rep.graph import input_specs, sublayers
from keras_rep.layers import (
    MobileOneConv,
    OREPAConv,
    OREPAStemConv,
    OREPAVGGConv,
    RepConv,
    RepLayer,
    RMBlock,
    TermLayer,
)
from keras_rep.reparameterization import BLOCKS, reparameterize
from keras_rep.terms import AveragePool, Chain, Identity, Norm, Sum

ALL_BLOCKS = [
    *BLOCKS,
    pytest.param(OREPAVGGConv, id="orepa_vgg"),
]
# Its first normalization does not see what the last one does.
DOUBLE_NORM = "qarep"

# Rounding of a handful of layers in a row, in other branches.
TOLERANCE = 5e-6
# QARep in training: epsilon 1e-3 beside variances of about one, in each layer.
DOUBLE_NORM_TOLERANCE = 2e-2

SIZES = [(9, 8), (12, 13)]


def sample(model, size=SIZES[0], batch=4):
    rng = np.random.default_rng(3)

    def values(spec):
        shape = [batch, *spec.shape[1:]]
        sizes = iter(size)
        shape = [next(sizes) if n is None else n for n in shape]
        return rng.normal(0.5, 1.0, shape).astype("float32")

    return tree.map_structure(values, input_specs(model))


class InTraining(keras.Model):
    """A model that is in training mode whatever one says."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, x, training=None):
        return self.model(x, training=True)


def outputs(model, x, training=False):
    if training:
        model = InTraining(model)
    # In one piece on JAX, which would compile every operation by itself.
    return tree.flatten(model.predict_on_batch(x))


def assert_same_function(wide, model, x, tolerance=TOLERANCE, training=False):
    """Compares relative to the largest value of each output."""
    received, expected = (outputs(m, x, training) for m in (wide, model))
    for pair in zip(received, expected, strict=True):
        assert_close(*pair, tolerance)


def architecture(model):
    """Name, class and shapes of the weights of all layers at every depth."""
    return [
        (
            layer.name,
            type(layer).__name__,
            [tuple(v.shape) for v in layer.weights],
        )
        for layer in sublayers(model)
    ]


def rep_layers(model):
    """The rep layers of a model by name."""
    return {x.name: x for x in sublayers(model) if isinstance(x, RepLayer)}


def swapped(model, block="rep", where=None, size=SIZES[0]):
    """Swaps in a model whose weights show mistakes; checks what always holds.

    Returns:
        The new model.
    """
    randomize(model)
    before = [np.array(array(v)) for v in model.weights]

    wide = reparameterize(model, block, where)

    x = sample(model, size)
    assert_same_function(wide, model, x)
    assert rep_layers(wide)
    for value, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(array(variable), value)
    plain = [keras_rep.deploy(m, verify=False) for m in (wide, model)]
    assert not rep_layers(plain[0])
    assert architecture(plain[0]) == architecture(plain[1])
    return wide


def norm(**options):
    return layers.BatchNormalization(**options)


def normalized_net():
    """Every convolution has a normalization, each of another kind."""
    inputs = keras.Input((None, None, 4))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = layers.ReLU(name="relu")(norm(center=False, name="stem_norm")(x))
    x = layers.DepthwiseConv2D(
        3,
        strides=2,
        padding="same",
        depth_multiplier=2,
        use_bias=False,
        name="depthwise",
    )(x)
    x = norm(scale=False, epsilon=1e-5, momentum=0.8, name="depth_norm")(x)
    x = layers.Conv2D(8, (2, 3), padding="same", groups=4, name="grouped")(x)
    x = layers.Conv2D(8, 1, name="point")(norm(name="grouped_norm")(x))
    x = layers.Conv2D(6, 3, dilation_rate=2, padding="same", name="wide")(x)
    x = norm(center=False, scale=False, name="wide_norm")(x)
    x = layers.Conv2D(8, 4, strides=(2, 1), use_bias=False, name="even")(x)
    return keras.Model(inputs, norm(epsilon=0.1, name="even_norm")(x))


def plain_net():
    """No normalizations; biases and activations."""
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(8, 3, activation="relu", name="first"),
            layers.DepthwiseConv2D(
                (3, 2), padding="same", activation="tanh", name="second"
            ),
            layers.Conv2D(6, 3, strides=2, padding="same", name="third"),
        ],
        name="plain",
    )


def small_net(**options):
    """A convolution, its normalization, and a head."""
    options = {
        "kernel_size": 3,
        "use_bias": False,
        "padding": "same",
        **options,
    }
    return keras.Sequential(
        [
            keras.Input((9, 8, 4)),
            layers.Conv2D(4, name="conv", **options),
            norm(name="norm"),
            layers.ReLU(),
            layers.Conv2D(3, 1, name="head"),
            layers.GlobalAveragePooling2D(),
        ],
        name="small",
    )


@pytest.mark.parametrize("block", ALL_BLOCKS)
def test_normalized_convolutions(block):
    model = normalized_net()

    wide = swapped(model, block, size=SIZES[0])

    assert list(rep_layers(wide)) == [
        "stem",
        "depthwise",
        "grouped",
        "wide",
        "even",
    ]
    assert_same_function(wide, model, sample(model, SIZES[1]))
    tolerance = DOUBLE_NORM_TOLERANCE if block == DOUBLE_NORM else TOLERANCE
    x = sample(model, SIZES[1])
    assert_same_function(wide, model, x, tolerance, training=True)


@pytest.mark.parametrize(
    "block",
    [functools.partial(MobileOneConv, conv_branches=2), "dirac"],
    ids=["mobile_one", "dirac"],
)
def test_moving_statistics_move_as_before(block):
    model = small_net()
    randomize(model)
    wide = reparameterize(model, block)
    x = sample(model)
    before = outputs(model, x)[0]

    for each in (model, wide):
        each(x, training=True)

    assert np.abs(outputs(model, x)[0] - before).max() > 1e-3
    assert_same_function(wide, model, x)


@pytest.mark.parametrize("block", ["rep", "dirac", "orepa"])
def test_convolutions_without_normalization(block):
    model = plain_net()

    wide = swapped(model, block, size=SIZES[0])

    assert list(rep_layers(wide)) == ["first", "second", "third"]
    assert_same_function(wide, model, sample(model, SIZES[1]))


@pytest.mark.parametrize("block", ["dbb", "mobile_one", "orepa", "qarep"])
def test_training_and_deploying(block):
    model = small_net()
    wide = swapped(model, block)
    plain = keras_rep.deploy(model)
    before = {v.path: np.array(array(v)) for v in wide.weights}
    x, y = sample(model, batch=8), np.ones((8, 3), "float32")

    wide.compile(keras.optimizers.Adam(0.003), "mse")
    losses = wide.fit(x, y, epochs=4, batch_size=8, verbose=0).history["loss"]

    assert losses == sorted(losses, reverse=True)
    moved = {
        v.path: np.abs(array(v) - before[v.path]).max() for v in wide.weights
    }
    assert {path for path, change in moved.items() if not change} <= {
        # The normalization behind the sum takes this constant out again.
        "conv/branches/sum/kxk/norm/beta"
    }
    assert architecture(keras_rep.deploy(wide)) == architecture(plain)


@pytest.mark.parametrize("block", ["rep", "orepa"])
def test_channels_first(block, backend):
    if backend == "tensorflow":
        pytest.skip("TensorFlow on CPUs has no channels-first convolutions")
    options = {"padding": "same", "data_format": "channels_first"}
    inputs = keras.Input((4, None, None))
    x = layers.Conv2D(6, 3, groups=2, name="conv", **options)(inputs)
    x = norm(axis=1)(x)
    x = layers.DepthwiseConv2D(
        3, strides=2, depth_multiplier=2, name="depthwise", **options
    )(x)
    model = keras.Model(inputs, norm(axis=1, name="norm")(x))

    wide = swapped(model, block)

    assert len(wide.layers) == 4
    assert_same_function(wide, model, sample(model, SIZES[1]))


@pytest.mark.parametrize("block", ["rep", "orepa"])
@pytest.mark.parametrize(
    # Both models round each layer's output to half precision.
    ("policy", "tolerance"),
    [("mixed_float16", 5e-3), ("mixed_bfloat16", 4e-2), ("float64", 1e-12)],
)
def test_dtype_policies(policy, tolerance, block, backend):
    if policy == "float64" and backend == "jax":
        pytest.skip("JAX has no float64 unless asked for it")
    if policy == "float64" and backend == "torch":
        # Where Keras' own normalization rounds to single precision.
        tolerance = 1e-6
    dtype = keras.DTypePolicy(policy)
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3), dtype=dtype.compute_dtype),
            layers.Conv2D(4, 3, dtype=policy, name="conv"),
            norm(dtype=policy),
        ]
    )
    randomize(model)

    wide = reparameterize(model, block)

    x = ops.cast(sample(model), dtype.compute_dtype)
    received, expected = (
        outputs(m, x)[0].astype("float64") for m in (wide, model)
    )
    assert_close(received, expected, tolerance)
    assert wide.get_layer("conv").dtype_policy.name == policy


def test_a_normalization_of_another_dtype_stays():
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            layers.Conv2D(4, 3, dtype="mixed_float16", name="conv"),
            norm(dtype="float32", name="norm"),
        ]
    )
    randomize(model)

    wide = reparameterize(model, "rep")

    assert wide.get_layer("norm").compute_dtype == "float32"
    received, expected = (outputs(m, sample(model))[0] for m in (wide, model))
    assert_close(received, expected, 5e-3)


def test_settings_are_carried_over():
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            layers.DepthwiseConv2D(
                3,
                depthwise_initializer="he_normal",
                depthwise_regularizer=keras.regularizers.L2(0.1),
                depthwise_constraint=keras.constraints.MaxNorm(2.0),
                name="conv",
            ),
            norm(
                epsilon=0.2,
                momentum=0.6,
                activity_regularizer=keras.regularizers.L1(0.3),
            ),
            layers.Conv2D(4, 3, activation="relu", name="frozen"),
        ]
    )
    model.get_layer("frozen").trainable = False

    wide = swapped(model, "rep")

    layer = wide.get_layer("conv")
    assert (layer.epsilon, layer.momentum) == (0.2, 0.6)
    assert type(layer.kernel_initializer).__name__ == "HeNormal"
    assert float(array(layer.kernel_regularizer.l2)) == pytest.approx(0.1)
    assert layer.kernel_constraint.max_value == 2.0
    assert float(array(layer.activity_regularizer.l1)) == pytest.approx(0.3)
    assert not wide.get_layer("frozen").trainable_weights
    assert wide.get_layer("frozen").activation is keras.activations.relu


def test_compile_settings_are_carried_over():
    model = small_net()
    model.compile(keras.optimizers.Adam(0.125), "mse", metrics=["mae"])

    wide = swapped(model)

    x, y = sample(model), np.ones((4, 3), "float32")
    results = [
        m.evaluate(x, y, verbose=0, return_dict=True) for m in (wide, model)
    ]
    assert results[0].keys() == {"loss", "mae"}
    assert results[0] == pytest.approx(results[1], rel=1e-5)
    assert float(array(wide.optimizer.learning_rate)) == 0.125
    assert wide.optimizer is not model.optimizer


def test_channels_of_gain_zero_keep_their_kernel():
    model = small_net()
    randomize(model)
    gamma = model.get_layer("norm").gamma
    gamma.assign(array(gamma) * np.array([1, 0, 1, 0], "float32"))

    wide = reparameterize(model, "rep")

    kxk = wide.get_layer("conv").branches.kxk
    np.testing.assert_array_equal(
        array(kxk.terms[0].kernel), array(model.get_layer("conv").kernel)
    )
    np.testing.assert_array_equal(array(kxk.terms[1].gamma), array(gamma))
    assert_same_function(wide, model, sample(model))
    assert_same_function(wide, model, sample(model), training=True)


# Topologies.


def test_sequential_stays_sequential():
    wide = swapped(small_net())

    assert type(wide) is keras.Sequential
    assert wide.layers[0].name == "conv"
    assert wide.name == "small"


@pytest.mark.parametrize("block", ["dbb", "orepa"])
def test_shared_convolutions_become_shared_layers(block):
    inputs = [keras.Input((9, 8, 3), name=name) for name in "ab"]
    shared = layers.Conv2D(4, 3, name="shared")
    behind = norm(name="norm")
    model = keras.Model(inputs, [behind(shared(x)) for x in inputs])

    wide = swapped(model, block)

    # The normalization's name lives on in those of the outputs.
    names = ["a", "b", "shared", "norm"]
    assert [layer.name for layer in wide.layers] == names
    assert list(rep_layers(wide)) == ["shared"]


def test_a_normalization_shared_by_two_convolutions_stays():
    inputs = keras.Input((9, 8, 3))
    convs = [layers.Conv2D(4, 3, name=name) for name in "ab"]
    behind = norm(name="norm")
    model = keras.Model(inputs, [behind(conv(inputs)) for conv in convs])

    wide = swapped(model)

    assert list(rep_layers(wide)) == ["a", "b"]
    assert type(wide.get_layer("norm")) is layers.BatchNormalization


@pytest.mark.parametrize(
    "follow",
    [
        lambda x: [norm(name="norm")(x), x],
        lambda x: norm(name="norm")(layers.ReLU()(x)),
        lambda x: norm(name="norm", axis=1)(x),
        lambda x: norm(name="norm")(x, training=True),
        lambda x: norm(name="norm")(x, training=False),
    ],
    ids=["two users", "activation", "axis", "training", "inference"],
)
def test_normalizations_that_are_not_the_convolutions_own_stay(follow):
    inputs = keras.Input((9, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    model = keras.Model(inputs, follow(x))
    pinned = follow(x) if not isinstance(follow(x), list) else None
    randomize(model)

    wide = reparameterize(model, "rep")

    assert list(rep_layers(wide)) == ["conv"]
    assert type(wide.get_layer("norm")) is layers.BatchNormalization
    assert_same_function(wide, model, sample(model))
    assert pinned is None or pinned.shape == model.output_shape


def test_nested_models():
    def make(name, inner=None):
        inputs = keras.Input((None, None, 4))
        x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
        x = norm(name="norm")(x)
        if inner is not None:
            x = inner(inner(x), training=False)
        return keras.Model(inputs, layers.ReLU(name="relu")(x), name=name)

    inner = make("inner")
    outer = make("outer", inner)
    inputs = keras.Input((9, 8, 4))
    model = keras.Model(inputs, [outer(inputs), inner(inputs)])

    wide = swapped(model, "dbb")

    nested = wide.get_layer("outer")
    assert nested.get_layer("inner") is wide.get_layer("inner")
    kinds = {type(x).__name__ for x in rep_layers(nested).values()}
    assert kinds == {"DBBConv"}


class Residual(layers.Layer):
    """A composite layer of a user."""

    def __init__(self, filters, normalize=True, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(filters, 3, padding="same", name="conv")
        self.norm = norm(name="norm") if normalize else layers.ReLU(name="relu")

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build(self.conv.compute_output_shape(input_shape))

    def call(self, x):
        return ops.relu(self.norm(self.conv(x)) + x)


class Net(keras.Model):
    """A subclassed model with composite layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(4, 3, strides=2, name="stem")
        self.blocks = [Residual(4, name="a"), Residual(4, name="b")]
        self.head = layers.Dense(3, name="head")

    def call(self, x, training=None):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return {"logits": self.head(ops.mean(x, axis=(1, 2)))}


def test_subclassed_models():
    model = Net()
    model(np.ones((1, 9, 8, 3), "float32"))

    wide = swapped(model)

    assert list(rep_layers(wide)) == ["stem", "a_conv", "b_conv"]
    assert list(wide.output) == ["logits"]
    assert not model.stem._inbound_nodes


def test_a_default_of_training_is_not_pinned():
    class Pinned(Net):
        def call(self, x, training=False):
            return super().call(x)

    model = Pinned()
    x = np.random.default_rng(0).normal(1.0, 2.0, (4, 9, 8, 3))
    x = x.astype("float32")
    model(x)

    wide = swapped(model, "rep")

    (moving_mean, *_) = [v for v in wide.weights if "moving_mean" in v.path]
    before = np.array(array(moving_mean))
    wide(x, training=True)
    assert np.abs(array(moving_mean) - before).max() > 1e-3


def test_saving_and_loading(tmp_path):
    wide = swapped(normalized_net(), "dbb")
    path = tmp_path / "wide.keras"

    wide.save(path)

    loaded = keras.models.load_model(path)
    assert_same_function(loaded, wide, sample(wide))
    assert architecture(loaded) == architecture(wide)


# Which convolutions.


@pytest.mark.parametrize(
    "where",
    [
        ["stem", "point"],
        {"stem", "point"},
        iter(["stem", "point"]),
        lambda layer: layer.name in ("stem", "point"),
    ],
    ids=["list", "set", "iterator", "function"],
)
def test_where(where):
    wide = swapped(normalized_net(), "rep", where)

    assert list(rep_layers(wide)) == ["stem", "point"]


def test_paths_tell_equal_names_apart():
    inner = small_net()
    inputs = keras.Input((9, 8, 4))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    model = keras.Model(inputs, inner(x))

    wide = swapped(model, "rep", ["small/conv"])

    assert type(wide.get_layer("conv")) is layers.Conv2D
    assert list(rep_layers(wide.get_layer("small"))) == ["conv"]


def test_names_that_are_no_convolutions_are_refused():
    message = r"Received: \['steam'\] .* \['relu', 'stem_norm'\] that are no"

    with pytest.raises(ValueError, match=message):
        reparameterize(
            normalized_net(), "rep", ["stem", "steam", "relu", "stem_norm"]
        )


def test_a_single_name_is_refused():
    with pytest.raises(ValueError, match=r"Write `where=\['stem'\]`"):
        reparameterize(normalized_net(), "rep", "stem")


@pytest.mark.parametrize(
    "where",
    [None, [], lambda layer: False],
    ids=["default", "no name", "function"],
)
def test_nothing_to_swap(where):
    model = small_net() if where is not None else None
    if model is None:
        model = keras.Sequential([keras.Input((9, 8, 3)), layers.Conv2D(4, 1)])

    with pytest.raises(ValueError, match="Received: 0 wanted convolutions"):
        reparameterize(model, "rep", where)


def with_lora(model):
    model.get_layer("conv").enable_lora(2)


def freeze_norm(model):
    model.get_layer("norm").trainable = False


def regularize_bias(model):
    model.get_layer("conv").bias_regularizer = keras.regularizers.L2(0.1)


def constrain_gamma(model):
    model.get_layer("norm").gamma_constraint = keras.constraints.NonNeg()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_lora, "has LoRA weights"),
        (freeze_norm, "either it or 'norm' is trainable"),
        (regularize_bias, "'conv' has a `bias_regularizer`"),
        (constrain_gamma, "'norm' has a `gamma_constraint`"),
    ],
)
@pytest.mark.parametrize("where", [None, ["conv"]], ids=["all", "named"])
def test_convolutions_that_must_stay(change, reason, where):
    model = small_net()
    change(model)

    with pytest.raises(ValueError, match=f"- 'conv': .*{reason}"):
        reparameterize(model, "rep", where)


def test_by_default_what_must_stay_stays():
    model = normalized_net()
    model.get_layer("grouped").bias_constraint = keras.constraints.NonNeg()

    wide = reparameterize(model, "rep")

    assert "grouped" not in rep_layers(wide)
    assert len(rep_layers(wide)) == 4
    with pytest.raises(ValueError, match=r"1 wanted .*\n- 'grouped'"):
        reparameterize(model, "rep", lambda layer: layer.kernel_size > (1, 1))


def test_layers_that_stay_whole_are_named():
    inputs = keras.Input((9, 8, 4))
    x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    block = Residual(4, normalize=False, name="block")
    model = keras.Model(inputs, block(x))

    assert list(rep_layers(swapped(model))) == ["first"]
    with pytest.raises(ValueError, match=r"'conv': .* a layer that stays"):
        reparameterize(model, "rep", ["first", "conv"])


# Which blocks.


@pytest.mark.parametrize(
    "block", ["resnet", RMBlock, layers.Conv2D, None, RepConv(4)], ids=str
)
def test_what_is_no_block(block):
    with pytest.raises(ValueError, match="Invalid block"):
        reparameterize(small_net(), block)


def test_a_function_that_returns_another_layer():
    with pytest.raises(ValueError, match=r"Expected a `keras_rep\.layers"):
        reparameterize(small_net(), lambda **arguments: layers.ReLU())


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (OREPAStemConv, "cannot add up to any kernel"),
        (functools.partial(RepConv, reserve_ratio=0.5), "cannot add up to any"),
        (functools.partial(RepConv, se_ratio=0.5), "the gate of 'RepConv'"),
        (functools.partial(OREPAConv, post_norm=False), "no place for a bias"),
        (functools.partial(RepConv, se_ratio=2.0), "the block refuses it"),
    ],
    ids=["stem", "reserved", "gate", "bias", "argument"],
)
def test_blocks_that_cannot_have_the_kernel(block, reason):
    model = small_net(kernel_size=5) if block is OREPAStemConv else small_net()
    randomize(model)

    with pytest.raises(ValueError, match=f"- 'conv': .*{reason}"):
        reparameterize(model, block)


def test_a_linear_block_without_normalization():
    model = keras.Sequential(
        [keras.Input((9, 8, 4)), layers.Conv2D(6, 3, use_bias=False)]
    )
    randomize(model)

    wide = reparameterize(model, functools.partial(OREPAConv, post_norm=False))

    x = sample(model)
    assert_same_function(wide, model, x)
    assert_same_function(wide, model, x, training=True)


class Odd(TermLayer):
    """Branches that cannot be silenced, and the main one behind them."""

    def make_term(self, channels):
        return Sum(
            point=Chain(self.make_conv(self.filters, 1), Norm(scale=False)),
            average=AveragePool(self.kernel_size),
            identity=Identity(),
            kxk=self.make_conv_norm(self.kernel_size),
        )


def test_branches_that_cannot_be_silenced_are_subtracted():
    model = small_net()

    wide = swapped(model, Odd)

    kernel = wide.get_layer("conv").to_kernel()
    point = wide.get_layer("conv").branches.point.to_kernel()
    assert np.abs(point.kernel).max() > 0.1
    assert np.abs(kernel.kernel).max() > 0.1


class Unscaled(TermLayer):
    def make_term(self, channels):
        conv = self.make_conv(self.filters, self.kernel_size)
        return Chain(conv, self.make_norm(scale=False))


def test_a_main_branch_without_gamma_is_refused():
    with pytest.raises(ValueError, match="normalization without gamma or beta"):
        reparameterize(small_net(), Unscaled)


def test_only_models_have_convolutions_to_swap():
    with pytest.raises(ValueError, match=r"Expected a `keras.Model`"):
        reparameterize(layers.Conv2D(4, 3))


# Whole networks: minutes each.


def nested_net(**options):
    base = keras.applications.MobileNetV2(alpha=0.35, **options)
    inputs = keras.Input(base.input_shape[1:])
    return keras.Model(inputs, base(inputs * 0.5))


NETWORKS = {
    "resnet50": keras.applications.ResNet50,
    "mobilenet_v2": keras.applications.MobileNetV2,
    "efficientnet_b0": keras.applications.EfficientNetB0,
    "nested": nested_net,
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", ALL_BLOCKS)
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_of_keras_applications(network, block):
    model = NETWORKS[network](weights=None, input_shape=(64, 64, 3), classes=10)
    for layer in sublayers(model):
        if isinstance(layer, layers.BatchNormalization):
            randomize(layer)

    wide = reparameterize(model, block)

    x = sample(model, batch=8)
    # Half a hundred layers in a row.
    assert_same_function(wide, model, x, 1e-5)
    plain = keras_rep.deploy(model)
    statistics = [v for v in wide.weights if v.path.endswith("moving_variance")]
    before = [np.array(array(v)) for v in statistics]
    wide.compile(
        keras.optimizers.Adam(1e-3),
        "sparse_categorical_crossentropy",
        # TensorFlow would compile for minutes, and JAX not run without.
        jit_compile=keras.backend.backend() == "jax",
    )
    y = np.arange(8) % 10
    losses = wide.fit(x, y, epochs=6, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for variable, value in zip(statistics, before, strict=True):
        assert np.abs(array(variable) - value).max() > 0, variable.path
    assert architecture(keras_rep.deploy(wide)) == architecture(plain)
