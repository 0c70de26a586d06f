"""Statistics of all replicas; `test_examples.py` trains with more than one."""

import keras
import numpy as np
import pytest
from arrays import array, randomize
from cases import CASES
from test_layers import assert_close

from keras_rep import backend
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


# Of unequal shares, as the last batch of an epoch may have them.
SHARES = (slice(0, 3), slice(3, 8))


def normalize(x):
    """Outputs, statistics, and the gradient of a sum of cubes."""
    import torch

    x = torch.tensor(x, requires_grad=True)
    gamma, beta = torch.linspace(1, 2, 3), torch.linspace(-1, 1, 3)
    results = backend.normalize_batch(
        x, gamma, beta, 1e-3, "channels_last", synchronized=True
    )
    (results[0] ** 3).sum().backward()
    return [tensor.detach().numpy() for tensor in (*results, x.grad)]


def normalize_share(rank, folder, x):
    """What each of two processes does."""
    from torch import distributed

    meeting_point = f"file://{folder}/meeting_point"
    distributed.init_process_group(
        "gloo", init_method=meeting_point, rank=rank, world_size=2
    )
    np.savez(f"{folder}/{rank}.npz", *normalize(x[SHARES[rank]]))
    distributed.destroy_process_group()


@pytest.mark.skipif(BACKEND != "torch", reason="it has processes, not devices")
def test_two_processes_normalize_as_one(rng, tmp_path):
    import torch

    # The mean is large, so that sums of squares would cancel.
    x = rng.normal(300, 2, (8, 6, 7, 3)).astype("float32")

    torch.multiprocessing.spawn(normalize_share, (tmp_path, x), nprocs=2)

    outputs, mean, variance, gradient = normalize(x)
    shares = [
        list(np.load(tmp_path / f"{rank}.npz").values()) for rank in range(2)
    ]
    # Single precision leaves 2e-5 of a pixel near 300, so 1e-5 of a deviation.
    for share, part in zip(shares, SHARES, strict=True):
        assert_close(share[0], outputs[part], 5e-5)
        assert_close(share[1], mean, 1e-6)
        assert_close(share[2], variance, 5e-5)
        assert_close(share[3], gradient[part], 5e-5)
