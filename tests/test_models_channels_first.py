"""Networks of images whose channels come first, as Keras may be configured."""

import keras
import numpy as np
import pytest
from arrays import randomize, run
from model_cases import NETWORKS
from model_checks import images, quick
from test_layers import assert_close

import keras_rep

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "tensorflow",
    reason="TensorFlow's convolutions on a CPU are channels-last",
)

TRANSPOSED = [name for name in NETWORKS if not name.startswith("crnet")]


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("name", quick(TRANSPOSED, ("v3", "shuffle_v2")))
def test_channels_first_is_the_transposed_network(name, channels_first):
    network, size = NETWORKS[name], (33, 47)
    model = network(input_shape=(network.channels, *size))
    randomize(model)
    plain = keras_rep.deploy(model, verify=False)
    keras.config.set_image_data_format("channels_last")
    last = network(size)
    randomize(last)

    x = images(last)
    expected = run(last, x)

    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    assert_close(run(model, first), expected, 5e-6)
    assert_close(run(plain, first), expected, 5e-6)


def test_an_autoencoder_with_channels_first(channels_first):
    # Its code reads the pixels in another order, so it has other weights.
    model = NETWORKS["crnet_dbb_pointed"](input_shape=(2, 12, 8))
    randomize(model)
    plain = keras_rep.deploy(model, verify=False)
    x = np.random.default_rng(0).uniform(size=(3, 2, 12, 8)).astype("float32")

    assert_close(run(plain, x), run(model, x), 5e-6)
    assert model.output_shape == (None, 2, 12, 8)
