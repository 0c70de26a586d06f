"""Models that round as an integer file does, and can be trained."""

import keras
import numpy as np
import pytest
from arrays import array, gradient_of
from keras import layers
from quantize_nets import NETS, chain, data_for, images, mobile

import keras_rep
from keras_rep.quantize import calibrate, fake_quantize
from keras_rep.quantize.fake_quantization import read_form
from keras_rep.quantize.fake_quantize_layer import FakeQuantize
from keras_rep.quantize.rounded_layers import ROUNDED
from keras_rep.quantize.scales import Scale, round_weights


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("bounds", [(-1.3, 2.9), (0.0, 6.0), (-4.0, 0.0)])
def test_it_rounds_to_the_numbers_of_the_scale(rng, bounds, bits):
    values = rng.uniform(-8, 8, 1000).astype("float32")

    rounded = array(FakeQuantize(*bounds, bits=bits)(values))

    expected = Scale.of(*bounds, bits).rounded(values)
    step = Scale.of(*bounds, bits).step
    # In single precision a value can lie half a step away both ways.
    np.testing.assert_allclose(rounded, expected, atol=1.001 * step)
    assert np.mean(np.abs(rounded - expected) > 0.01 * step) < 0.01


def test_the_gradient_passes_but_for_what_is_clipped():
    layer = FakeQuantize(-1.0, 2.0)
    x = np.array([-3.0, -0.51, 0.0, 0.3, 1.9, 2.5], "float32")
    layer(x)

    np.testing.assert_array_equal(gradient_of(layer, x), [0, 1, 1, 1, 1, 0])


@pytest.mark.parametrize("per_tensor", [False, True])
@pytest.mark.parametrize(
    ("plain", "arguments", "axes", "shape"),
    [
        (layers.Conv2D, (4, 3), (0, 1, 2), (6, 6, 3)),
        (layers.Conv1D, (4, 3), (0, 1), (6, 3)),
        (layers.DepthwiseConv2D, (3,), (0, 1), (6, 6, 3)),
        (layers.Conv2DTranspose, (4, 3), (0, 1, 3), (6, 6, 3)),
        (layers.Dense, (4,), (0,), (6, 3)),
    ],
)
def test_layers_round_their_kernels(
    rng, plain, arguments, axes, shape, per_tensor
):
    x = rng.normal(size=(2, *shape)).astype("float32")
    layer = ROUNDED[plain](*arguments, per_tensor=per_tensor)
    received = array(layer(x))

    like = plain(*arguments)
    like.build((None, *shape))
    kernel, bias = layer.get_weights()
    whole = tuple(range(kernel.ndim))
    like.set_weights(
        [round_weights(kernel, whole if per_tensor else axes), bias]
    )
    np.testing.assert_allclose(received, array(like(x)), atol=1e-5)
    # The rounding shows, and the kernel stays as it is.
    like.set_weights([kernel, bias])
    assert np.abs(received - array(like(x))).max() > 1e-3
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)


@pytest.mark.parametrize("name", NETS)
def test_rounded_models_are_close_and_keep_names(name):
    model = NETS[name]()
    data = data_for(model)

    rounded = fake_quantize(model, calibrate(model, data))

    expected = keras.tree.flatten(model.predict(data, verbose=0))
    received = keras.tree.flatten(rounded.predict(data, verbose=0))
    for pair in zip(expected, received, strict=True):
        error = np.square(pair[1] - pair[0]).sum() / np.square(pair[0]).sum()
        # Rounding shows, and leaves 20 of some 40 dB.
        assert 1e-6 < error < 1e-2
    assert [x.name for x in rounded.inputs] == [x.name for x in model.inputs]


def test_fine_rounding_is_nearly_exact():
    """With 16 bits, and kernels that 8 bits hold exactly."""
    model, data = chain("relu"), images(20)
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([np.sign(kernel), bias])

    ranges = calibrate(model, data, method="min_max")
    rounded = fake_quantize(model, ranges, bits=16)

    expected = model.predict(data, verbose=0)
    received = rounded.predict(data, verbose=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(received, expected, atol=1e-3 * scale)


def trained(model, data, steps=6):
    rounded = fake_quantize(model, calibrate(model, data))
    rounded.compile(keras.optimizers.Adam(1e-2), "mse")
    targets = model.predict(data, verbose=0) + 0.5
    losses = [rounded.train_on_batch(data, targets) for _ in range(steps)]
    return rounded, [float(np.mean(loss)) for loss in losses]


def test_training_lowers_the_loss_and_keeps_the_ranges():
    model, data = chain(), images(32)
    ranges = calibrate(model, data)

    rounded, losses = trained(model, data)

    assert losses[-1] < 0.8 * losses[0]
    form = read_form(rounded)
    assert form.ranges == ranges
    kernels = [
        net.get_layer("third").get_weights()[0] for net in (model, form.model)
    ]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


def test_what_was_trained_is_saved(tmp_path):
    data = images(32)
    rounded, _ = trained(chain(), data)
    rounded.save(tmp_path / "net.keras")

    loaded = keras.models.load_model(tmp_path / "net.keras")

    np.testing.assert_array_equal(
        *(net.predict(data, verbose=0) for net in (rounded, loaded))
    )
    assert read_form(loaded).ranges == read_form(rounded).ranges


def test_learned_ranges_move():
    model, data = chain(), images(32)
    ranges = calibrate(model, data)
    narrow = {name: [low / 2, high / 2] for name, (low, high) in ranges.items()}
    rounded = fake_quantize(model, narrow, learned=True)
    rounded.compile(keras.optimizers.Adam(1e-2), "mse")
    targets = model.predict(data, verbose=0)

    for _ in range(5):
        rounded.train_on_batch(data, targets)

    found = read_form(rounded).ranges
    assert found["score"][0] != narrow["score"][0]
    assert found["score"][1] != narrow["score"][1]
    # A rectifier's outputs start at zero.
    assert found["third"][0] == 0.0


def test_layers_can_be_left_out():
    model, data = mobile(), images()

    ranges = calibrate(model, data)
    rounded = fake_quantize(model, ranges, skip=["depthwise", "score"])

    names = {type(x).__name__ for x in rounded.layers if x.name == "depthwise"}
    assert names == {"DepthwiseConv2D"}
    form = read_form(rounded)
    assert set(form.float_layers) == {"depthwise", "score"}
    assert set(ranges) - set(form.ranges) == {"depthwise", "score"}


def test_half_precision_trains():
    with_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = chain()
        data = images(16)
        _, losses = trained(model, data, steps=8)
    finally:
        keras.config.set_dtype_policy(with_policy)
    assert min(losses) < losses[0]


def test_a_rounded_model_inside_another_one_is_read():
    model, data = chain(), images(16)
    rounded = fake_quantize(model, calibrate(model, data))
    inputs = keras.Input((16, 16, 3), name="photo")
    outer = keras.Model(inputs, rounded(inputs))

    form = read_form(outer)

    assert set(form.ranges) >= {"first", "second", "third", "score"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {**r, "none": [0, 1]}, "a range for 'none'"),
        (lambda r: {**r, "pool": [0, 1]}, "has the range of 'second'"),
        (lambda r: {k: r[k] for k in list(r)[1:]}, r"none for \['image'\]"),
        (lambda r: {**r, "score": [2, 1]}, "the smaller number first"),
        (lambda r: {**r, "score": [1, 1]}, "the smaller number first"),
        (lambda r: {**r, "score": [1, 2]}, r"Write \[0.0, 2.0\]"),
        (lambda r: {**r, "score": [0, np.nan]}, "finite"),
        (lambda r: {**r, "score": "wide"}, "two numbers"),
        (lambda r: {**r, "score": [1]}, "two numbers"),
        (lambda r: list(r), "not a dictionary"),
    ],
)
def test_ranges_must_fit(change, message):
    model = chain()
    ranges = calibrate(model, images(4))

    with pytest.raises(ValueError, match=message):
        fake_quantize(model, change(ranges))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "per_row"}, "`weights`"),
        ({"bits": 4}, "`bits`"),
        ({"skip": ["scores"]}, "Unknown names in `skip`"),
    ],
)
def test_arguments_must_fit(options, message):
    model = chain()

    with pytest.raises(ValueError, match=message):
        fake_quantize(model, calibrate(model, images(4)), **options)


def test_it_is_not_deployed_twice():
    """Deploying leaves the rounding alone."""
    model, data = chain(), images(8)
    rounded = fake_quantize(model, calibrate(model, data))

    plain = keras_rep.deploy(rounded)

    np.testing.assert_allclose(
        plain.predict(data, verbose=0), rounded.predict(data, verbose=0)
    )
