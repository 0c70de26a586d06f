"""What is done to a model before its numbers are rounded."""

import keras
import numpy as np
import pytest
from arrays import randomize
from keras import layers
from quantize_nets import NETS, chain, data_for, images

import keras_rep
from keras_rep.layers import RepConv
from keras_rep.quantize import (
    calibrate,
    correct_bias,
    equalize,
    fake_quantize,
    kernel_health,
    repair,
)


def assert_same(model, other, data, tolerance=2e-6):
    expected = model.predict(data, verbose=0)
    received = other.predict(data, verbose=0)
    for pair in zip(
        keras.tree.flatten(expected), keras.tree.flatten(received), strict=True
    ):
        scale = np.abs(pair[0]).max()
        np.testing.assert_allclose(pair[1], pair[0], atol=tolerance * scale)


def collapsed(value=0.0):
    """A dead channel in front of an identity branch, as RepVGG has it.

    Args:
        value: What the dead channel is always.
    """
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="front"),
            RepConv(4, activation="relu", name="block"),
            layers.Conv2D(4, 1, name="point"),
        ]
    )
    randomize(model)
    kernel, bias = model.get_layer("front").get_weights()
    kernel[..., 1] = 0
    bias[1] = value or -1.0
    model.get_layer("front").set_weights([kernel, bias])
    identity = model.get_layer("block").branches.identity
    variance = np.ones(4)
    variance[1] = 4e-29
    identity.moving_variance.assign(variance)
    identity.moving_mean.assign(np.array([0.1, value, 0.3, -0.2]))
    identity.gamma.assign(np.array([0.9, 1.5, 1.1, 0.8]))
    return model


def spreads(model):
    return {each.name: each.spread for each in kernel_health(model)}


def test_a_dead_channel_is_found_and_repaired():
    model, data = collapsed(), images(20, size=(8, 8, 3))
    (block,) = (x for x in kernel_health(model) if x.name == "block")

    repaired = repair(model, data)

    np.testing.assert_allclose(block.identity_gain, 1.5 / np.sqrt(1e-5))
    assert block.spread > 100
    assert spreads(repaired)["block"] < 5
    assert_same(model, repaired, data)


def test_repairing_saves_what_one_scale_would_lose():
    model, data = collapsed(), images(60, size=(8, 8, 3))
    expected = model.predict(data, verbose=0)

    def error(net):
        rounded = fake_quantize(
            net, calibrate(net, data, method="min_max"), weights="per_tensor"
        )
        received = rounded.predict(data, verbose=0)
        return np.square(received - expected).sum()

    # 20 dB and more.
    assert error(repair(model, data)) < error(model) / 100


def test_a_constant_channel_goes_into_the_bias_where_nothing_is_padded():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="front"),
            layers.Conv2D(4, 3, use_bias=False, name="inside"),
            layers.Conv2D(4, 3, padding="same", name="padded"),
        ]
    )
    randomize(model)
    for name in ("front", "inside"):
        weights = model.get_layer(name).get_weights()
        weights[0][..., 2] = 0
        model.get_layer(name).set_weights(weights)
    front = model.get_layer("front")
    front.bias.assign(np.array([1.0, 1.0, 0.7, 1.0]))
    data = images(10, size=(8, 8, 3))

    repaired = repair(model, data)

    assert_same(model, repaired, data)
    kernel, bias = repaired.get_layer("inside").get_weights()
    assert not kernel[:, :, 2].any()
    assert bias.any()
    # Its third channel is zero, and zeros around it change nothing.
    assert not repaired.get_layer("padded").get_weights()[0][:, :, 2].any()


def test_a_constant_channel_stays_where_zeros_are_around_it():
    model, data = collapsed(value=0.5), images(10, size=(8, 8, 3))

    repaired = repair(model, data)

    assert_same(model, repaired, data)
    assert spreads(repaired)["block"] > 100


@pytest.mark.parametrize("name", NETS)
def test_repairing_a_healthy_net_changes_nothing(name):
    model = NETS[name]()
    data = data_for(model, 20)

    assert_same(model, repair(model, data), data)


@pytest.mark.parametrize("activation", ["relu", "relu6", None])
def test_equalizing_is_exact(activation):
    """On inputs that reach the cap, too."""
    model = chain(activation)
    data = 5 * images(10)

    equal = equalize(model)

    assert_same(model, equal, data, tolerance=1e-5)
    before, after = spreads(model), spreads(equal)
    assert before["first"] > 5
    assert after["first"] < before["first"] / 3
    names = [type(x).__name__ for x in equal.layers]
    assert names.count("ChannelCap") == (3 if activation == "relu6" else 0)


@pytest.mark.parametrize("name", NETS)
def test_equalizing_any_net_is_exact(name):
    model = NETS[name]()

    assert_same(model, equalize(model), data_for(model, 5), tolerance=1e-5)


def test_what_needs_caps_can_be_left_out():
    equal = equalize(chain("relu6"), caps=False)

    assert "ChannelCap" not in [type(x).__name__ for x in equal.layers]
    before, after = spreads(chain("relu6")), spreads(equal)
    assert before["first"] == after["first"]


def test_equalized_models_are_saved_and_deployed(tmp_path):
    equal = equalize(chain())
    equal.save(tmp_path / "net.keras")

    loaded = keras.models.load_model(tmp_path / "net.keras")

    assert_same(equal, loaded, images(3), tolerance=0)
    assert_same(equal, keras_rep.deploy(equal), images(3))


def test_caps_must_fit():
    cap = keras_rep.quantize.ChannelCap([1.0, 2.0])

    with pytest.raises(ValueError, match="3 channels and 2 caps"):
        cap(np.ones((1, 3), "float32"))


def test_equalizing_helps_one_scale():
    model, data = chain("relu"), images(60)
    expected = model.predict(data, verbose=0)

    def error(net):
        ranges = calibrate(net, data, method="min_max")
        rounded = fake_quantize(net, ranges, weights="per_tensor")
        return np.square(rounded.predict(data, verbose=0) - expected).sum()

    assert error(equalize(model)) < error(model) / 4


@pytest.mark.parametrize("weights", ["per_channel", "per_tensor"])
def test_corrected_biases_remove_the_mean_error(weights):
    """Of a convolution of the image, which is not rounded here."""
    inputs = keras.Input((10, 10, 6), name="image")
    outputs = layers.Conv2D(5, 3, groups=1, name="conv")(inputs)
    model = keras.Model(inputs, outputs)
    randomize(model)
    data = images(30, size=(10, 10, 6)) + 2.0
    ranges = {"image": [-20.0, 30.0], "conv": [-60.0, 60.0]}

    def bias_of(net):
        rounded = fake_quantize(net, ranges, weights=weights, bits=16)
        error = rounded.predict(data, verbose=0) - model.predict(
            data, verbose=0
        )
        return np.abs(error.mean((0, 1, 2))).max()

    assert bias_of(correct_bias(model, data, weights=weights)) < 0.1 * bias_of(
        model
    )


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match="Invalid value for `weights`"):
        correct_bias(chain(), images(2), weights="per_row")


@pytest.mark.parametrize("remedy", [repair, correct_bias])
def test_data_must_fit(remedy):
    for data, message in [
        (images(4) * np.nan, "not finite"),
        (iter([]), "no batch"),
        (images(4)[..., :1], "does not fit"),
    ]:
        with pytest.raises(ValueError, match=message):
            remedy(chain(), data)


def test_originals_are_not_changed():
    model, data = collapsed(), images(4, size=(8, 8, 3))
    before = model.get_weights()

    repair(model, data)
    equalize(model)
    correct_bias(model, data)

    for pair in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(*pair)
