"""Ranges of a model's tensors, from data and without."""

import json
import operator
import warnings

import keras
import numpy as np
import pytest
from arrays import randomize
from keras import layers
from quantize_nets import NETS, data_for, images, mobile

import keras_rep
from keras_rep.layers import DBBConv, QARepConv, RepConv
from keras_rep.quantize import calibrate
from keras_rep.quantize.scales import coarse


@pytest.fixture(scope="module")
def model():
    return mobile()


def extremes(model, name, data):
    """Of what a layer of the model returns."""
    probe = keras.Model(model.inputs, model.get_layer(name).output)
    outputs = probe.predict(data, verbose=0)
    return float(outputs.min()), float(outputs.max())


def test_extremes_are_those_of_the_layers(model):
    data = images()

    ranges = calibrate(model, data, method="min_max", output_margin=1)

    assert ranges["image"] == list(coarse(data.min(), data.max()))
    for name in ("stem", "project", "pool", "score"):
        low, high = extremes(model, name, data)
        expected = coarse(min(low, 0.0), max(high, 0.0))
        np.testing.assert_allclose(ranges[name], expected, rtol=0.02)
        assert ranges[name][0] <= min(low, 0) + 1e-5
        assert ranges[name][1] >= high - 1e-5


def test_ranges_are_plain_and_the_same_for_the_deployed_model(model):
    data = images()

    ranges = calibrate(model, data)

    assert json.loads(json.dumps(ranges)) == ranges
    assert calibrate(keras_rep.deploy(model), data) == ranges


def test_the_margin_is_for_the_upper_end_of_outputs(model):
    data = images()

    plain = calibrate(model, data, output_margin=1)
    wide = calibrate(model, data, output_margin=2)

    differing = {name for name in plain if plain[name] != wide[name]}
    assert differing == {"score", "chance"}
    for name in differing:
        assert plain[name][0] == wide[name][0]
        np.testing.assert_allclose(wide[name][1], 2 * plain[name][1], rtol=0.02)


def test_outputs_are_never_clipped(model):
    data = images()

    for method in ("percentile", "mse"):
        ranges = calibrate(model, data, method=method, percentile=0.9)
        low, high = extremes(model, "score", data)
        assert ranges["score"][0] <= low
        assert ranges["score"][1] >= high
        inner = calibrate(model, data, method="min_max")["project"]
        assert np.ptp(ranges["project"]) < np.ptp(inner)


def test_percentiles_come_from_the_values(model):
    data = images()

    low, high = calibrate(model, data, percentile=0.99)["project"]

    probe = keras.Model(model.inputs, model.get_layer("project").output)
    values = probe.predict(data, verbose=0)
    expected = np.quantile(values, [0.01, 0.99])
    np.testing.assert_allclose([low, high], expected, rtol=0.03)


@pytest.mark.parametrize("name", NETS)
def test_a_stream_of_batches_gives_what_arrays_give(name):
    model = NETS[name]()
    data = data_for(model, 30)

    def stream():
        for rows in (slice(13), slice(13, 17), slice(17, 30)):
            yield keras.tree.map_structure(operator.itemgetter(rows), data)

    assert calibrate(model, stream()) == calibrate(model, data)


def test_calibrating_changes_nothing(model):
    before = model.get_weights()

    calibrate(model, images(4))

    for pair in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(*pair)


@pytest.mark.parametrize("block", [RepConv, QARepConv, DBBConv])
def test_ranges_without_data_fit_normal_inputs(block):
    """Trained statistics, on data as they were: none is too narrow or wide."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 8), name="image"),
            block(8, activation="relu", name="one"),
            layers.Conv2D(6, 3, use_bias=False, name="two"),
            layers.BatchNormalization(momentum=0.0, name="norm"),
            layers.Activation("hard_silu"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(3, name="score"),
        ]
    )
    data = images(64, size=(12, 12, 8))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    for _ in range(30):
        model.train_on_batch(data, np.zeros((64, 3)))

    with_data = calibrate(model, data, method="min_max")
    ranges = calibrate(model, method="batch_norm", input_range=(-4, 5))

    assert ranges["image"] == [-4.0, 5.0]
    assert set(ranges) == set(with_data)
    for name, (low, high) in with_data.items():
        ratio = np.ptp(ranges[name]) / (high - low)
        # Wider by far behind a mean of pixels, whose correlation is unknown.
        assert 0.6 < ratio < 8, (name, ranges[name], with_data[name])


def test_data_must_fit(model):
    data = images()
    for wrong, message in [
        (np.full_like(data, np.nan), "not finite"),
        (iter([]), "no batch"),
        (data[:0], "does not fit"),
        (data[..., :2], "does not fit"),
        (7, "not made of samples"),
        ("images/", "not made of numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            calibrate(model, wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "entropy"}, "Unknown method"),
        ({"method": "batch_norm"}, "do not go together"),
        ({"percentile": 99.99}, "Invalid percentile"),
        ({"output_margin": 0.5}, "Invalid margin"),
        ({"input_range": (0, 1)}, "Range of the inputs"),
    ],
)
def test_arguments_must_fit(model, options, message):
    with pytest.raises(ValueError, match=message):
        calibrate(model, images(2), **options)


def test_methods_without_data_must_fit(model):
    for options, message in [
        ({}, "Received: no data"),
        ({"method": "batch_norm"}, "Range of the inputs"),
        ({"method": "batch_norm", "input_range": (1, 0)}, "Invalid range"),
    ]:
        with pytest.raises(ValueError, match=message):
            calibrate(model, **options)


def test_too_little_data_gets_a_warning(model):
    with pytest.warns(UserWarning, match="a single sample"):
        calibrate(model, images(1))
    with pytest.warns(UserWarning, match="one value throughout"):
        calibrate(model, np.ones((5, 16, 16, 3), "float32"))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The ranges")
        calibrate(model, images(2))


def test_numbers_that_explode_are_named():
    model = keras.Sequential(
        [keras.Input((4,), name="x"), layers.Dense(2, name="big")]
    )
    randomize(model)
    model.layers[0].kernel.assign(np.full((4, 2), 3e38))

    with pytest.raises(keras_rep.DeployError, match="'big'"):
        calibrate(model, np.ones((2, 4)) * [[1.0], [2.0]])


def test_layers_that_only_data_can_follow_are_named():
    model = keras.Sequential(
        [keras.Input((6, 4), name="x"), layers.LSTM(3, name="memory")]
    )

    with pytest.raises(ValueError, match="'memory'"):
        calibrate(model, method="batch_norm", input_range=(-1, 1))
