"""Which tensors of a model need a range."""

import keras
import numpy as np
import pytest
from keras import layers
from quantize_nets import NETS, data_for, mobile, nested, two_inputs

from keras_rep.program import Program
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.sites import find_sites


def sites_of(model):
    return find_sites(Program(prepare(model)))


def test_names_in_the_order_of_the_model():
    assert list(sites_of(mobile())) == [
        "image",
        "stem",
        "depthwise",
        "project",
        "sum_relu",
        "squeeze",
        "reduce",
        "expand",
        "expand_sigmoid",
        "scale",
        "grouped",
        "grouped_hard_silu",
        "pool",
        "score",
        "chance",
        "chance_softmax",
    ]


def test_what_moves_integers_shares_a_range():
    site = sites_of(mobile())["scale"]

    names = {tensor.producer.layer.name for tensor in site.tensors}
    assert names == {"scale", "largest", "mean", "join"}


def test_what_tflite_prescribes_and_what_users_see():
    sites = sites_of(mobile())

    fixed = {name: site.fixed for name, site in sites.items() if site.fixed}
    assert fixed == {
        "expand_sigmoid": (0.0, 255 / 256),
        "chance_softmax": (0.0, 255 / 256),
    }
    seen = [name for name, site in sites.items() if site.is_output]
    # Logits count, whether a softmax stands behind them or not.
    assert seen == ["score", "chance", "chance_softmax"]
    assert sites["depthwise"].bounds == (0.0, 6.0)


def test_each_call_of_a_shared_layer_has_a_range():
    sites = sites_of(two_inputs())

    # The second call ends in a rectifier, which is one operation with it.
    assert {"shared", "rectified"} < set(sites)
    layer = layers.Conv2D(3, 3, padding="same", name="conv")
    twice = keras.Sequential([keras.Input((8, 8, 3)), layer], name="twice")
    inputs = keras.Input((8, 8, 3), name="image")
    model = keras.Model(inputs, twice(layer(inputs)))
    assert list(sites_of(model)) == [
        "image",
        "twice_conv",
        "twice_conv:1",
    ]


def test_one_pixel_keeps_its_scale():
    """The converter leaves its mean out, and would mistake the next bias."""
    model = keras.Sequential(
        [
            keras.Input((2, 2, 4)),
            layers.Conv2D(4, 2, name="conv"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(2, name="score"),
        ]
    )

    assert list(sites_of(model))[1:] == ["conv", "score"]


@pytest.mark.parametrize("name", NETS)
def test_prepared_models_return_the_same(name):
    model = NETS[name]()
    data = data_for(model, 3)

    prepared = prepare(model)

    expected = model.predict(data, verbose=0)
    received = prepared.predict(data, verbose=0)
    for pair in zip(
        keras.tree.flatten(expected), keras.tree.flatten(received), strict=True
    ):
        scale = np.abs(pair[0]).max()
        np.testing.assert_allclose(pair[1], pair[0], atol=2e-6 * scale)


@pytest.mark.parametrize("name", NETS)
def test_preparing_again_changes_nothing(name):
    once = prepare(NETS[name]())
    twice = prepare(once)

    assert [x.name for x in once.layers] == [x.name for x in twice.layers]
    for pair in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_array_equal(*pair)


def test_prepared_models_are_made_of_operations():
    names = [type(x).__name__ for x in prepare(nested()).layers]

    assert "Sequential" not in names
    assert "BatchNormalization" not in names
    assert "SeparableConv2D" not in names
    # A normalization that no convolution precedes, and a separable layer.
    assert names.count("DepthwiseConv2D") == 2
