"""Statistics of all replicas; test_mirrored_strategy has more than one."""

import keras
import numpy as np
import pytest
from arrays import array, randomize, run
from cases import CASES

from keras_rep.layers import DBBConv
from keras_rep.terms import Norm

BACKEND = keras.backend.backend()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_normalization_of_a_block_is_synchronized(case):
    layer = case.make(synchronized=True)
    layer = type(layer).from_config(layer.get_config())
    layer.build((None, 16, 16, case.channels))

    norms = [x for x in layer._flatten_layers() if isinstance(x, Norm)]

    assert norms or not case.arguments.get("post_norm", True)
    assert all(norm.synchronized for norm in norms)
    assert not case.make().synchronized


@pytest.mark.skipif(BACKEND == "torch", reason="Keras cannot on PyTorch")
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_one_replica_trains_as_ever(rng, data_format):
    x = rng.normal(1, 2, (4, 6, 7, 3)).astype("float32")
    if data_format == "channels_first" and BACKEND == "tensorflow":
        pytest.skip("TensorFlow's convolutions on a CPU are channels-last")
    if data_format == "channels_first":
        x = x.transpose(0, 3, 1, 2)
    layers = []
    for synchronized in (False, True):
        layer = DBBConv(5, data_format=data_format, synchronized=synchronized)
        layer.build(x.shape)
        randomize(layer)
        layers.append(layer)

    expected, outputs = (array(layer(x, training=True)) for layer in layers)

    # The mean of the squares less the square of the mean cancels.
    scale = np.abs(expected).max()
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5 * scale)
    for old, new in zip(*(layer.weights for layer in layers), strict=True):
        scale = np.abs(array(old)).max()
        np.testing.assert_allclose(
            array(new), array(old), rtol=0, atol=1e-5 * scale
        )


@pytest.mark.skipif(BACKEND != "torch", reason="there, Keras can")
def test_pytorch_refuses_to_train_and_deploys(rng):
    x = rng.normal(size=(2, 6, 7, 3)).astype("float32")
    plain, layer = DBBConv(5), DBBConv(5, synchronized=True)
    for each in (plain, layer):
        each.build(x.shape)
        randomize(each)

    with pytest.raises(NotImplementedError, match="synchronized=True"):
        layer(x, training=True)
    np.testing.assert_array_equal(run(layer, x), run(plain, x))
