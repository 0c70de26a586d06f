"""Deployment of whole models: topologies, traps and what is carried over."""

import keras
import numpy as np
import pytest
from arrays import array, randomize
from cases import ONE_EACH
from keras import layers, ops, tree
from test_layers import assert_close

import keras_rep
from keras_rep.graph import contains, input_specs
from keras_rep.layers import RepConv, RepLayer
from keras_rep.rules import deploy_rep_layer

# Rounding of a handful of layers in a row.
TOLERANCE = 5e-6


def sample(model, batch=2, size=(9, 8)):
    rng = np.random.default_rng(3)

    def values(tensor):
        spatial = [n or m for n, m in zip(tensor.shape[1:3], size, strict=True)]
        shape = (batch, *spatial, tensor.shape[3])
        return rng.normal(0.5, 1.0, shape).astype("float32")

    return tree.map_structure(values, input_specs(model))


def assert_same_function(model, plain, inputs):
    expected = model(inputs, training=False)
    received = plain(inputs, training=False)
    tree.assert_same_structure(expected, received)
    pairs = zip(tree.flatten(received), tree.flatten(expected), strict=True)
    for pair in pairs:
        assert_close(*map(array, pair), TOLERANCE)


def deployed(model, inputs=None, **options):
    """Deploys a model with weights that show mistakes; checks the result."""
    randomize(model)
    before = [np.array(array(v)) for v in model.weights]
    inputs = sample(model) if inputs is None else inputs

    plain = keras_rep.deploy(model, **options)

    assert_same_function(model, plain, inputs)
    assert not contains(plain, RepLayer)
    for value, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(array(variable), value)
    return plain


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


class Residual(layers.Layer):
    """A composite layer of a user, which holds rep layers."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.first = RepConv(filters, activation="relu", name="first")
        self.second = RepConv(filters, name="second")

    def build(self, input_shape):
        self.first.build(input_shape)
        self.second.build(self.first.compute_output_shape(input_shape))

    def call(self, x, training=None):
        y = self.first(x, training=training)
        return ops.relu(self.second(y, training=training) + x)


class Net(keras.Model):
    """A subclassed model with composite layers and plain Python."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = RepConv(4, strides=2, name="stem")
        self.blocks = [Residual(4, name="a"), Residual(4, name="b")]
        self.head = layers.Dense(3, name="head")

    def call(self, x, training=None):
        x = self.stem(x, training=training)
        for block in self.blocks:
            x = block(x, training=training)
        return {"logits": self.head(ops.mean(x, axis=(1, 2)))}


def test_sequential_stays_sequential():
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3), name="image"),
            RepConv(8, strides=2, activation="relu", name="stem"),
            layers.Dropout(0.5, name="drop"),
            RepConv(8, padding="centered", strides=2, name="down"),
            layers.GlobalAveragePooling2D(name="pool"),
        ],
        name="net",
    )

    plain = deployed(model)

    assert type(plain) is keras.Sequential
    assert plain.name == "net"
    assert [layer.name for layer in plain.layers] == [
        "stem",
        "down_pad",
        "down",
        "pool",
    ]
    features = keras.Model(plain.inputs, plain.get_layer("stem").output)
    assert features.output_shape == (None, 5, 4, 8)


def test_dictionaries_shared_layers_and_raw_operations():
    left, right = (
        keras.Input((9, 8, 3), name="l"),
        keras.Input((9, 8, 3), name="r"),
    )
    shared = RepConv(4, name="shared")
    total = shared(left) + 2 * shared(right)
    outputs = {
        "sum": layers.ReLU(name="relu")(total),
        "crop": shared(left)[:, 1:],
    }
    model = keras.Model({"l": left, "r": right}, outputs)

    plain = deployed(model)

    assert sum(kind == "Conv2D" for kind in kinds(plain)) == 1
    assert plain.get_layer("shared").count_params() == 3 * 3 * 3 * 4 + 4
    assert plain.output_names == model.output_names


def test_lists_of_inputs_and_outputs():
    inputs = [keras.Input((9, 8, 3), name=name) for name in "ab"]
    features = [RepConv(4, name=f"conv_{x.name}")(x) for x in inputs]
    model = keras.Model(inputs, [layers.Add(name="sum")(features), features[0]])

    plain = deployed(model)

    assert plain.output_names == ["sum", "conv_a"]
    assert [tensor.name for tensor in plain.inputs] == ["a", "b"]


def test_nested_models_keep_their_names_and_are_shared():
    def make(name, inner=None):
        inputs = keras.Input((None, None, 4))
        x = RepConv(4, activation="relu", name="conv")(inputs)
        if inner is not None:
            x = inner(inner(x))
        return keras.Model(inputs, layers.Dropout(0.1)(x), name=name)

    inner = keras.Sequential(
        [keras.Input((None, None, 4)), RepConv(4, name="conv")], name="inner"
    )
    outer = make("outer", inner)
    inputs = keras.Input((9, 8, 4))
    model = keras.Model(inputs, [outer(inputs), inner(inputs)])

    plain = deployed(model)

    nested = plain.get_layer("outer")
    assert nested.get_layer("inner") is plain.get_layer("inner")
    assert isinstance(nested.get_layer("conv"), layers.Conv2D)
    assert type(plain.get_layer("inner")) is keras.Sequential


def test_layers_called_by_keyword():
    inputs = keras.Input((9, 8, 3))
    x = layers.BatchNormalization()(inputs=layers.Conv2D(4, 3)(inputs=inputs))
    x = RepConv(4)(inputs=layers.ReLU()(inputs=x))

    plain = deployed(keras.Model(inputs, x))

    assert kinds(plain) == ["InputLayer", "Conv2D", "Conv2D"]


def own_activation(x):
    return ops.relu(x) + 1.0


def test_functions_of_a_user_are_kept():
    """Keras' configurations hold their names only."""
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            layers.Conv2D(4, 3, activation=own_activation),
            layers.DepthwiseConv2D(3),
            layers.BatchNormalization(),
            layers.Activation(own_activation),
        ]
    )

    plain = deployed(model)

    assert kinds(plain) == ["Conv2D", "DepthwiseConv2D", "Activation"]


def test_subclassed_model_with_composite_layers():
    model = Net()
    inputs = np.random.default_rng(0).normal(size=(2, 9, 8, 3))
    inputs = inputs.astype("float32")
    model(inputs)

    plain = deployed(model, inputs)

    names = [layer.name for layer in plain.layers]
    assert {"stem", "a_first", "a_second", "b_first", "head"} <= set(names)
    assert list(plain.output) == ["logits"]
    # Tracing has left no calls behind.
    assert not model.stem._inbound_nodes
    assert not model.blocks[0].first._inbound_nodes


def test_composite_layer_in_a_functional_model():
    inputs = keras.Input((9, 8, 4))
    block = Residual(4, name="block")
    model = keras.Model(inputs, block(block(inputs)))

    plain = deployed(model)

    # Shared inside as well: two convolutions, each called twice.
    assert sum(kind == "Conv2D" for kind in kinds(plain)) == 2
    assert plain.output_names == ["block"]


def test_functional_subclass_with_arguments_of_its_own():
    class Classifier(keras.Model):
        def __init__(self, width):
            inputs = keras.Input((9, 8, 3))
            x = RepConv(width, name="stem")(inputs)
            super().__init__(inputs, layers.GlobalMaxPooling2D()(x))

    deployed(Classifier(4))


def test_unknown_sizes():
    model = keras.Sequential(
        [keras.Input((None, None, 3)), RepConv(4, strides=2), RepConv(4)]
    )

    plain = deployed(model)

    for size in [(7, 12), (12, 7)]:
        assert_same_function(model, plain, sample(model, size=size))


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 1e-2), ("mixed_bfloat16", 5e-2)]
)
def test_mixed_precision(policy, tolerance):
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            RepConv(4, dtype=policy, activation="relu"),
            RepConv(4, dtype=policy),
            layers.GlobalAveragePooling2D(dtype="float32"),
        ]
    )
    randomize(model)

    plain = keras_rep.deploy(model)

    inputs = sample(model)
    expected, received = (array(m(inputs)) for m in (model, plain))
    assert_close(received, expected, tolerance)
    assert plain.layers[0].dtype_policy.name == policy


def test_frozen_layers_stay_frozen():
    model = keras.Sequential([keras.Input((9, 8, 3)), RepConv(4), RepConv(4)])
    model.layers[0].trainable = False

    plain = deployed(model)

    assert [layer.trainable for layer in plain.layers] == [False, True]


def test_a_deployed_model_trains_on_its_own():
    model = keras.Sequential([keras.Input((9, 8, 3)), RepConv(4), RepConv(4)])
    plain = deployed(model)
    inputs = sample(model)
    before = array(model(inputs, training=False))

    plain.compile("sgd", "mse")
    plain.fit(inputs, np.zeros((2, 9, 8, 4)), verbose=0)

    np.testing.assert_array_equal(array(model(inputs, training=False)), before)


def own_loss(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def test_compile_settings_are_carried_over():
    model = keras.Sequential(
        [keras.Input((9, 8, 3)), RepConv(4, name="stem"), layers.Flatten()]
    )
    model.compile(
        keras.optimizers.Adam(0.125),
        loss=own_loss,
        metrics=[keras.metrics.MeanAbsoluteError(name="mae"), "mse"],
    )
    x, y = sample(model, 4), np.ones((4, 9 * 8 * 4), "float32")

    plain = deployed(model)

    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    received = plain.evaluate(x, y, verbose=0, return_dict=True)
    assert expected.keys() == received.keys() == {"loss", "mae", "mse"}
    np.testing.assert_allclose(
        list(received.values()), list(expected.values()), rtol=1e-5
    )
    assert float(array(plain.optimizer.learning_rate)) == 0.125
    assert plain.optimizer is not model.optimizer
    plain.fit(x, y, verbose=0)


def test_deploying_twice_changes_nothing():
    model = keras.Sequential([keras.Input((9, 8, 3)), RepConv(4, name="stem")])
    plain = deployed(model)

    again = keras_rep.deploy(plain)

    for a, b in zip(plain.weights, again.weights, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


# What must be refused, each with its reason.


def pinned_model():
    inputs = keras.Input((9, 8, 3))
    x = RepConv(4, name="free")(inputs)
    return keras.Model(inputs, RepConv(4, name="pinned")(x, training=True))


def test_pinned_training_is_refused():
    model = pinned_model()

    with pytest.raises(
        keras_rep.DeployError, match=r"'pinned': it is called with `training=T"
    ):
        keras_rep.deploy(model)


def test_pinned_training_is_kept_if_not_strict():
    model = pinned_model()
    randomize(model)

    plain = keras_rep.deploy(model, strict=False)

    assert type(plain.get_layer("free")) is layers.Conv2D
    assert type(plain.get_layer("pinned")) is RepConv
    assert_same_function(model, plain, sample(model))


def test_a_nested_model_pinned_to_training_is_refused():
    inner = keras.Sequential([keras.Input((9, 8, 3)), RepConv(4)], name="deep")
    inputs = keras.Input((9, 8, 3))
    model = keras.Model(inputs, inner(inputs, training=True))

    with pytest.raises(keras_rep.DeployError, match="'deep': it is called"):
        keras_rep.deploy(model)


def test_rules_that_leave_rep_layers_are_refused():
    model = keras.Sequential([keras.Input((9, 8, 3)), RepConv(4, name="stem")])

    randomize(model)

    with pytest.raises(keras_rep.DeployError, match="'stem': no rule takes it"):
        keras_rep.deploy(model, rules=[])
    assert keras_rep.deploy(model, rules=[], strict=False).get_layer("stem")


@pytest.mark.parametrize("rules", [["fold"], [None]])
def test_rules_must_be_functions(rules):
    model = keras.Sequential([keras.Input((9, 8, 3)), RepConv(4)])

    with pytest.raises(ValueError, match="Invalid rules"):
        keras_rep.deploy(model, rules=rules)


@pytest.mark.parametrize("thing", [None, "model.keras", RepConv(4)])
@pytest.mark.parametrize("function", [keras_rep.deploy, keras_rep.explain])
def test_only_models_can_be_deployed(thing, function):
    with pytest.raises(ValueError, match=r"Expected a `keras.Model`"):
        function(thing)


@pytest.mark.parametrize(
    "model", [Net(), keras.Sequential([RepConv(4)])], ids=["class", "sequence"]
)
def test_a_model_that_was_never_built(model):
    with pytest.raises(keras_rep.DeployError, match="Call it once on a batch"):
        keras_rep.deploy(model)


def test_a_model_that_cannot_be_traced():
    class Opaque(keras.Model):
        def __init__(self):
            super().__init__(name="opaque")
            self.conv = RepConv(4)

        def build(self, input_shape):
            self.conv.build(input_shape)

        def call(self, x):
            y = self.conv(x)
            return y * float(np.asarray(array(y)).max())

    model = Opaque()
    model(np.ones((1, 9, 8, 3), "float32"))

    with pytest.raises(keras_rep.DeployError, match="Cannot trace 'opaque'"):
        keras_rep.deploy(model)


def test_a_layer_without_configuration_is_named():
    class Scale(layers.Layer):
        def __init__(self, factor, name=None):
            super().__init__(name=name)
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return super().get_config()

    model = keras.Sequential(
        [keras.Input((9, 8, 3)), RepConv(4), Scale(2.0, name="odd")]
    )

    with pytest.raises(keras_rep.DeployError, match="Cannot copy layer 'odd'"):
        keras_rep.deploy(model)


class Wrong(RepConv):
    """A block whose kernel is not what it computes."""

    def to_kernel(self, *args):
        return super().to_kernel(*args).scale(*np.array([[1.01], [0.0]]))


def test_a_wrong_kernel_is_found_by_verification():
    model = keras.Sequential([keras.Input((9, 8, 3)), Wrong(4)], name="net")
    randomize(model)

    with pytest.raises(
        keras_rep.DeployError, match=r"'net' differs.*relative error of \d"
    ):
        keras_rep.deploy(model)
    assert keras_rep.deploy(model, verify=False)


def test_weights_that_are_not_numbers_are_found_by_verification():
    model = keras.Sequential([keras.Input((9, 8, 3)), RepConv(4)])
    randomize(model)
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan))

    with pytest.raises(keras_rep.DeployError, match="relative error of inf"):
        keras_rep.deploy(model)


def test_inputs_that_cannot_be_made_up():
    inputs = keras.Input((None, None, 3))
    x = RepConv(4)(inputs)
    x = layers.Reshape((9 * 8 * 4,))(x)
    model = keras.Model(inputs, x)
    randomize(model)

    with pytest.raises(keras_rep.DeployError, match="Pass `verify=False`"):
        keras_rep.deploy(model)
    plain = keras_rep.deploy(model, verify=False)
    data = np.ones((2, 9, 8, 3), "float32")
    assert keras_rep.verify(model, plain, data).passed


def test_fresh_statistics_are_warned_of():
    model = keras.Sequential([keras.Input((9, 8, 3)), RepConv(4, name="stem")])

    with pytest.warns(UserWarning, match="'stem' first"):
        keras_rep.deploy(model)


def test_verify_compares_outputs_of_one_shape():
    models = [
        keras.Sequential([keras.Input((9, 8, 3)), RepConv(filters)])
        for filters in (4, 5)
    ]

    with pytest.raises(ValueError, match="Expected equal shapes"):
        keras_rep.verify(*models)


def test_verify_measures_the_error():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    model.set_weights([np.eye(2), np.zeros(2)])
    other = keras.models.clone_model(model)
    other.set_weights([np.eye(2) * 1.5, np.zeros(2)])

    result = keras_rep.verify(model, other, np.array([[1.0, -4.0]], "float32"))

    assert result.max_abs_error == 2.0
    assert result.max_rel_error == 0.5
    assert not result.passed


def test_rules_can_be_chosen():
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            RepConv(4),
            layers.Conv2D(4, 1),
            layers.BatchNormalization(),
        ]
    )

    plain = deployed(model, rules=[deploy_rep_layer])

    assert kinds(plain) == ["Conv2D", "Conv2D", "BatchNormalization"]


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_every_block_in_every_topology(case):
    """Shared, nested, inside a user's layer, and in a row behind each other."""

    class Wrapped(layers.Layer):
        def __init__(self):
            super().__init__(name="wrapped")
            self.inner = case.make(name="inner")

        def call(self, x, training=None):
            return ops.relu(self.inner(x, training=training))

    shape = (9, 8, case.channels)
    nested_input = keras.Input(shape)
    nested = keras.Model(
        nested_input, case.make(activation="relu")(nested_input), name="nested"
    )
    shared = case.make(name="shared")
    inputs = {name: keras.Input(shape, name=name) for name in "ab"}
    outputs = {
        "sum": shared(inputs["a"]) + shared(inputs["b"]),
        "nested": nested(inputs["a"]),
        "wrapped": Wrapped()(inputs["b"]),
        "sequential": keras.Sequential([case.make(name="only")])(inputs["a"]),
    }

    plain = deployed(keras.Model(inputs, outputs))

    names = {layer.name for layer in plain.layers}
    assert {"shared", "nested", "wrapped_inner"} <= names
