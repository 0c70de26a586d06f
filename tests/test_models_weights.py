"""Weights of published models: files, names, and the same outputs as timm."""

import numpy as np
import pytest
from arrays import array
from backends import beside_torch
from rewriting_helpers import inputs_like
from test_layers import assert_close

import keras_rep
from keras_rep import models
from keras_rep.models.checkpoint import match, read_checkpoint
from keras_rep.models.naming_repvgg import REPVGG


def official(model, naming):
    """Random tensors of a model, as a file of its authors has them."""
    rng = np.random.default_rng(0)
    tensors = {}
    for variable in model.variables:
        (name,) = naming.names_of(variable, {})
        *window, inputs, outputs = (1, 1, *variable.shape)[-4:]
        shape = tuple(variable.shape)
        if len(shape) > 1:
            shape = (outputs, inputs, *window)[: len(shape)]
        tensors[name] = rng.uniform(0.5, 1.5, shape).astype("float32")
    return tensors


@pytest.fixture(scope="module")
def checkpoint():
    """Tensors of a RepVGG, by their official names."""
    model = models.RepVGG("A0", input_shape=(32, 32, 3), classes=5)
    return official(model, REPVGG)


def repvgg_a0():
    return models.RepVGG("A0", input_shape=(32, 32, 3), classes=5)


def test_official_names(checkpoint):
    model = repvgg_a0()

    values = match(model, checkpoint)

    by_path = dict(zip((v.path for v in model.variables), values, strict=True))
    np.testing.assert_array_equal(
        by_path["stage1_0/branches/kxk/conv/kernel"],
        checkpoint["stage1.0.rbr_dense.conv.weight"].transpose(2, 3, 1, 0),
    )
    np.testing.assert_array_equal(
        by_path["stage1_1/branches/identity/moving_variance"],
        checkpoint["stage1.1.rbr_identity.running_var"],
    )
    np.testing.assert_array_equal(
        by_path["classifier/kernel"], checkpoint["linear.weight"].T
    )


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files(checkpoint, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    tensors = {f"module.{name}": x for name, x in checkpoint.items()}
    if suffix == ".npz":
        np.savez(path, **tensors)
    else:
        pytest.importorskip("safetensors.numpy").save_file(
            {n: np.ascontiguousarray(x) for n, x in tensors.items()}, path
        )

    model = models.RepVGG(
        "A0", input_shape=(32, 32, 3), classes=5, weights=path
    )

    kernel = model.get_layer("stem").weights[0]
    expected = tensors["module.stage0.rbr_dense.conv.weight"]
    np.testing.assert_array_equal(array(kernel), expected.transpose(2, 3, 1, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("linear.bias"), "1 missing: linear.bias"),
        (lambda t: t.update(extra=np.ones(3)), "1 left over: extra"),
        (
            lambda t: t.update({"linear.bias": np.ones(6)}),
            r"1 of another shape: linear.bias \(6,\), not \(5,\)",
        ),
        (lambda t: t.clear(), "missing"),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(
    checkpoint, change, message, tmp_path
):
    model = repvgg_a0()
    before = [np.array(array(v)) for v in model.variables]
    tensors = dict(checkpoint)
    change(tensors)
    np.savez(tmp_path / "w.npz", **tensors)

    with pytest.raises(ValueError, match=message):
        models.load_torch_checkpoint(model, tmp_path / "w.npz")

    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.npz", b"", "Cannot read"),
        ("w.npz", b"PK\x03\x04broken", "Cannot read"),
        ("w.safetensors", b"broken", "Cannot read"),
        ("w.ckpt", b"", r"ends in '.ckpt'"),
    ],
)
def test_broken_files(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / name)


@beside_torch
def test_a_file_that_would_run_code(tmp_path):
    import torch  # noqa: TID251

    class Code:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"x": Code()}, tmp_path / "w.pth")

    with pytest.raises(keras_rep.DeployError, match="takes no code to read"):
        read_checkpoint(tmp_path / "w.pth")


@beside_torch
@pytest.mark.parametrize("nest", ["state_dict", "model_ema"])
def test_what_training_scripts_save(nest, tmp_path):
    import torch  # noqa: TID251

    content = {nest: {"module.a.weight": torch.ones(2)}, "epoch": 3}
    torch.save(content, tmp_path / "w.pth")

    tensors = read_checkpoint(tmp_path / "w.pth")

    np.testing.assert_array_equal(tensors["a.weight"], np.ones(2))
    assert len(tensors) == 1


@beside_torch
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("repvgg_a0", lambda **o: models.RepVGG("A0", **o)),
        pytest.param(
            "repvgg_b1g4",
            lambda **o: models.RepVGG("B1g4", **o),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            "repvgg_d2se",
            lambda **o: models.RepVGG("D2se", **o),
            marks=pytest.mark.exhaustive,
        ),
        ("mobileone_s0", lambda **o: models.MobileOne("S0", **o)),
        pytest.param(
            "mobileone_s4",
            lambda **o: models.MobileOne("S4", **o),
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_timm_computes_the_same(name, make, tmp_path):
    import timm_models
    import torch  # noqa: TID251

    gains = (0.7, 1.5) if name == "repvgg_d2se" else (0.5, 1.5)
    theirs = timm_models.create(name, gains, num_classes=10)
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    ours = make(
        classes=10,
        classifier_activation=None,
        input_shape=(None, None, 3),
        weights=path,
    )
    plain = keras_rep.deploy(ours)
    for size in ((224, 224), (97, 64)):
        x = inputs_like(*size, 3, count=1)
        batch = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            expected = theirs(batch).numpy()

        assert_close(array(ours(x, training=False)), expected, 1e-5)
        assert_close(array(plain(x, training=False)), expected, 1e-5)
