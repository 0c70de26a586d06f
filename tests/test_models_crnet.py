"""CRNet: its sizes, and its layers against PyTorch."""

import numpy as np
import pytest
from arrays import array, randomize, run
from backends import beside_torch
from model_cases import NETWORKS
from model_checks import full_size, trainable
from test_layers import assert_close

import keras_rep
from keras_rep import models
from keras_rep.layers import DBBConv
from keras_rep.models.crnet import PointedConv

BLOCKS = {
    "plain": {},
    "dbb": {"conv": DBBConv},
    "dbb_pointed": {"conv": DBBConv, "strip": PointedConv},
}


def matrices(*shape):
    rng = np.random.default_rng(2)
    return rng.uniform(0, 1, (2, *shape)).astype("float32")


@full_size
@pytest.mark.parametrize(
    ("compression", "parameters", "multiply_adds"),
    [
        (4, 2_102_838, 5.122),
        (8, 1_054_006, 4.073),
        (16, 529_590, 3.549),
        (32, 267_382, 3.287),
        (64, 136_278, 3.156),
    ],
)
def test_numbers_as_published(compression, parameters, multiply_adds):
    model = models.CRNet(compression)
    before, after = keras_rep.explain(model).multiply_adds

    assert trainable(model) == parameters
    assert round(before / 1e6, 3) == multiply_adds
    assert after == before


# The experiment's own, 926, 2,157 and 2,273 thousand, are of other widths,
# which it does not tell.
WIDE = {"plain": 897_852, "dbb": 905_816, "dbb_pointed": 1_006_696}
DEPLOYED = 896_556


@full_size
@pytest.mark.parametrize("name", BLOCKS)
def test_numbers_with_128_channels(name):
    model = models.CRNet(64, channels=128, **BLOCKS[name])

    _, plain = keras_rep.explain(model).parameters

    assert trainable(model) == WIDE[name]
    assert plain == DEPLOYED


def test_a_size_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"Expected a divisor of 2048\."):
        models.CRNet(3)


def test_weights_come_back(tmp_path):
    model = NETWORKS["crnet"]()
    randomize(model)
    path = tmp_path / "csi.weights.h5"
    model.save_weights(path)
    x = matrices(12, 8, 2)

    again = NETWORKS["crnet"](weights=str(path))

    np.testing.assert_array_equal(run(again, x), run(model, x))


def torch_crnet(torch, model, x):
    """The published layers, with the weights of a net by their names."""
    functional = torch.nn.functional
    weights = {v.path: torch.tensor(array(v)) for v in model.variables}

    def conv(x, name):
        kernel = weights[f"{name}_conv/kernel"].permute(3, 2, 0, 1)
        pads = [size // 2 for size in kernel.shape[2:]]
        parts = ("moving_mean", "moving_variance", "gamma", "beta")
        norm = [weights[f"{name}_norm/{part}"] for part in parts]
        x = functional.conv2d(x, kernel, None, 1, pads)
        return functional.batch_norm(x, *norm)

    def dense(x, name):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    def leaky(x):
        return functional.leaky_relu(x, 0.3)

    def chain(x, *names):
        for name in names[:-1]:
            x = leaky(conv(x, name))
        return conv(x, names[-1])

    def wide(x, name):
        parts = ("square", "row", "column")
        return chain(x, *(f"{name}_wide_{part}" for part in parts))

    paths = [wide(x, "encoder"), conv(x, "encoder_square")]
    x = leaky(conv(leaky(torch.cat(paths, 1)), "encoder_join"))
    size = x.shape
    code = dense(x.permute(0, 2, 3, 1).flatten(1), "code")
    x = dense(code, "decoder_dense").reshape(len(x), *size[2:], 2)
    x = leaky(conv(x.permute(0, 3, 1, 2), "decoder_stem"))
    for name in ("decoder_1", "decoder_2"):
        narrow = chain(x, f"{name}_narrow_row", f"{name}_narrow_column")
        y = leaky(torch.cat([wide(x, name), narrow], 1))
        x = leaky(x + conv(y, f"{name}_join"))
    return x.sigmoid()


@beside_torch
def test_against_pytorch():
    torch = pytest.importorskip("torch")
    model = NETWORKS["crnet"]()
    randomize(model)
    x = matrices(12, 8, 2)
    with torch.no_grad():
        images = torch.tensor(x.transpose(0, 3, 1, 2))
        expected = torch_crnet(torch, model, images).numpy()

    assert np.ptp(expected) > 0.1
    assert_close(run(model, x), expected.transpose(0, 2, 3, 1), 5e-6)
