"""What every re-parameterizable layer promises, over the list of cases."""

import inspect
import json

import keras
import numpy as np
import pytest
from arrays import array, randomize, run
from cases import CASES, ONE_EACH, TERM_CASES
from keras import layers

from keras_rep.layers import RepConv
from keras_rep.terms import impulse_response

SIZE = (9, 8)

# Float32 sums of some hundred products, twice: in branches, and merged.
TOLERANCE = 2e-6


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


def built(case, **more):
    layer = case.make(**more)
    layer.build((None, *SIZE, case.channels))
    randomize(layer)
    return layer


def images(case, size=SIZE, dtype="float32"):
    rng = np.random.default_rng(1)
    return rng.normal(0.5, 1.0, (2, *size, case.channels)).astype(dtype)


def run_plain(layer, x):
    """Calls the plain layers of a rep layer, from their configurations."""
    pairs = zip(
        layer.get_deploy_config(), layer.get_deploy_weights(), strict=True
    )
    for config, weights in pairs:
        plain = keras.layers.deserialize(config)
        plain.build(x.shape)
        plain.set_weights(weights)
        x = plain(x)
    return array(x)


def assert_close(received, expected, tolerance=TOLERANCE):
    """Compares relative to the largest value, as rounding does."""
    scale = np.abs(expected).max() or 1.0
    np.testing.assert_allclose(
        received / scale, expected / scale, rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("size", [(9, 8), (10, 11)], ids=str)
def test_plain_layers_give_the_same_outputs(case, size):
    layer = built(case, activation="relu")
    x = images(case, size)

    expected = run(layer, x)

    assert_close(run_plain(layer, x), expected)
    assert expected.shape == layer.compute_output_shape(x.shape)


@pytest.mark.parametrize("case", TERM_CASES, ids=str)
def test_the_kernel_is_the_impulse_response_of_the_layer(case):
    layer = built(case, activation=None)
    kernel = layer.to_kernel()
    response = impulse_response(layer.branches).embed(kernel.kernel_size)

    assert_close(response.kernel, kernel.regroup(1).kernel)
    assert_close(response.bias, kernel.bias)


def test_configuration_round_trip(case):
    layer = case.make(name="block", activation="relu", trainable=False)

    copy = type(layer).from_config(layer.get_config())

    first, second = (
        json.dumps(each.get_config(), sort_keys=True) for each in (layer, copy)
    )
    assert first == second


def test_saving_and_loading(case, tmp_path):
    model = keras.Sequential([keras.Input((*SIZE, case.channels)), case.make()])
    randomize(model)
    x = images(case)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(
        array(loaded(x, training=False)), array(model(x, training=False))
    )


def test_building_creates_all_weights(case):
    layer = case.make()
    layer.build((None, None, None, case.channels))
    before = len(layer.weights)

    layer(images(case))

    assert before == len(layer.weights) > 0


def test_symbolic_and_eager_shapes_agree(case):
    layer = case.make()
    x = images(case)

    symbolic = layer(keras.Input(x.shape[1:]))

    assert symbolic.shape[1:] == tuple(layer(x).shape[1:])


def test_one_training_step_changes_every_weight(case):
    model = keras.Sequential(
        [
            keras.Input((*SIZE, case.channels)),
            case.make(activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    randomize(model)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = [np.array(array(v)) for v in model.layers[0].weights]

    model.train_on_batch(images(case), np.ones((2, 3)))

    for old, new in zip(before, model.layers[0].weights, strict=True):
        if not new.path.endswith(case.idle):
            assert np.abs(old - array(new)).max() > 0, new.path


def test_channels_first(case, backend):
    layer = built(case, activation="relu")
    first = case.make(activation="relu", data_format="channels_first")
    first.build((None, case.channels, *SIZE))
    first.set_weights(layer.get_weights())
    x = images(case)
    expected = run(layer, x)
    if backend == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on a CPU")

    received = array(first(x.transpose(0, 3, 1, 2), training=False))
    plain = run_plain(first, x.transpose(0, 3, 1, 2))

    assert_close(received.transpose(0, 2, 3, 1), expected)
    assert_close(plain.transpose(0, 2, 3, 1), expected)


@pytest.mark.parametrize("case", ONE_EACH, ids=str)
@pytest.mark.parametrize(
    ("policy", "variables", "tolerance"),
    [
        ("mixed_float16", "float32", 3e-3),
        ("mixed_bfloat16", "float32", 3e-2),
        ("bfloat16", "bfloat16", 6e-2),
        # PyTorch's Keras rounds the constant epsilon to float32.
        ("float64", "float64", 1e-11),
    ],
)
def test_dtype_policies(case, policy, variables, tolerance, backend):
    """Tolerances are some roundings of the compute dtype."""
    if (policy, backend) == ("float64", "jax"):
        pytest.skip("JAX computes in float32 unless told otherwise")
    layer = built(case, dtype=policy)
    x = images(case)
    expected = run(layer, x)

    plain = run_plain(layer, x)

    assert {v.dtype for v in layer.weights} == {variables}
    assert expected.dtype == layer.compute_dtype
    assert_close(plain.astype("float64"), expected.astype("float64"), tolerance)


def test_signature_follows_conv2d(case):
    ours = inspect.signature(case.layer).parameters
    names = list(ours)
    leading = names[: names.index("activation") + 1]
    own = [ours[name] for name in names[len(leading) :]]

    assert (
        leading
        == list(inspect.signature(layers.Conv2D).parameters)[: len(leading)]
    )
    assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in own)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "Invalid value for `filters`"),
        ({"filters": True}, "Invalid value for `filters`"),
        ({"kernel_size": 0}, "Invalid value for `kernel_size`"),
        ({"kernel_size": (3, 3, 3)}, "Invalid value for `kernel_size`"),
        ({"strides": (1, -1)}, "Invalid value for `strides`"),
        ({"strides": 1.5}, "Invalid value for `strides`"),
        ({"groups": 3}, "filters=8 and groups=3"),
        ({"strides": 2, "dilation_rate": 2}, "strides > 1"),
        ({"padding": "causal"}, "padding='causal'"),
        ({"data_format": "NHWC"}, "data_format='NHWC'"),
        ({"se_ratio": 0.05}, "se_ratio=0.05 and filters=8"),
        ({"se_ratio": 2}, "above 0 and up to 1"),
        ({"se_position": "before_norm"}, "se_position='before_norm'"),
    ],
    ids=str,
)
def test_wrong_arguments_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        RepConv(**{"filters": 8, **arguments})


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"groups": 4}, (None, 8, 8, 6), "groups=4"),
        ({}, (None, 8, 8, None), "known, fitting number of channels"),
        ({"padding": "valid", "kernel_size": 5}, (None, 4, 8, 3), "no output"),
    ],
)
def test_wrong_inputs_are_explained(arguments, shape, message):
    layer = RepConv(**{"filters": 8, **arguments})

    with pytest.raises(ValueError, match=message):
        layer.build(shape)
