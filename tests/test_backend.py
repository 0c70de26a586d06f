"""Forms that are faster than Keras' own, on the backend of the process."""

import keras
import pytest
from arrays import array, gradient_of
from keras import ops
from test_layers import assert_close

from keras_rep import backend

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"


# Groups, inputs and filters of each: small ones and large ones.
@pytest.mark.parametrize(
    ("groups", "inputs", "filters"),
    [(4, 2, 1), (3, 2, 4), (3, 1, 2), (2, 4, 3), (2, 3, 5), (6, 5, 2)],
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "settings",
    [
        ((1, 1), "same", (1, 1)),
        ((2, 2), "valid", (1, 1)),
        ((1, 1), "same", (2, 1)),
    ],
    ids=["same", "strides", "dilation"],
)
def test_grouped_convolution(
    rng, groups, inputs, filters, data_format, settings
):
    if IS_TENSORFLOW and data_format == "channels_first":
        pytest.skip("TensorFlow's convolutions on a CPU are channels-last")
    shape = [2, 7, 8]
    shape.insert(3 if data_format == "channels_last" else 1, groups * inputs)
    x = rng.normal(size=shape).astype("float32")
    kernel = rng.normal(size=(3, 3, inputs, groups * filters))
    kernel = kernel.astype("float32")

    def expected(x, kernel):
        strides, padding, dilation_rate = settings
        return ops.conv(x, kernel, strides, padding, data_format, dilation_rate)

    def received(x, kernel):
        return backend.convolve(x, kernel, *settings, data_format)

    assert_close(array(received(x, kernel)), array(expected(x, kernel)))
    # Squares, because the gradient of a sum would not depend on the outputs.
    assert_close(
        gradient_of(lambda x: received(x, kernel) ** 2, x),
        gradient_of(lambda x: expected(x, kernel) ** 2, x),
    )
    assert_close(
        gradient_of(lambda kernel: received(x, kernel) ** 2, kernel),
        gradient_of(lambda kernel: expected(x, kernel) ** 2, kernel),
    )
