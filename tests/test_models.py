"""The networks: sizes, weights of the published ones, and the whole chain."""

import keras
import numpy as np
import pytest
from arrays import array
from backends import beside_torch
from rewriting_helpers import inputs_like
from test_layers import assert_close

import keras_rep
from keras_rep import models
from keras_rep.layers import OREPAVGGConv, QARepConv
from keras_rep.models import mobile_one, repvgg
from keras_rep.models.checkpoint import match, read_checkpoint
from keras_rep.models.naming_repvgg import REPVGG


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    """Another variant of each family, with a few narrow blocks."""
    row = repvgg.Configuration((1, 2, 2, 1), (0.125,) * 4, groups=2)
    for table in (repvgg.CONFIGURATIONS, repvgg.PLUS):
        monkeypatch.setitem(table, "tiny", row)
    row = mobile_one.Configuration((0.125,) * 4, 2, (0, 1, 0, 1), (1, 2, 1, 1))
    monkeypatch.setitem(mobile_one.CONFIGURATIONS, "tiny", row)


def small(make, **options):
    """A net with statistics that show mistakes."""
    model = make("tiny", input_shape=(40, 24, 3), classes=5, **options)
    rng = np.random.default_rng(0)
    ranges = {
        "gamma": (-0.5, 0.5),
        "beta": (-0.2, 0.2),
        "moving_mean": (-0.2, 0.2),
        "moving_variance": (0.5, 1.5),
    }
    for variable in model.variables:
        if variable.name in ranges:
            low, high = ranges[variable.name]
            variable.assign(rng.uniform(low, high, variable.shape))
    return model


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


# Trainable parameters in training form and deployed, as published.
COUNTS = {
    "RepVGG-A0": (lambda: models.RepVGG("A0"), (9_108_968, 8_309_384)),
    "MobileOne-S0": (lambda: models.MobileOne("S0"), (5_293_272, 2_078_504)),
    "MobileOne-S1": (lambda: models.MobileOne("S1"), (4_825_192, 4_764_840)),
}


@pytest.mark.filterwarnings("ignore:Model '.*' has .* layers whose batch")
@pytest.mark.parametrize(("make", "counts"), COUNTS.values(), ids=COUNTS)
def test_numbers_of_parameters(make, counts):
    model = make()

    plain = keras_rep.deploy(model, verify=False)

    assert (trainable(model), trainable(plain)) == counts


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (1000,)),
        ({"include_top": False}, (2, 3, 1280)),
        ({"include_top": False, "pooling": "max"}, (1280,)),
        ({"classes": 7, "name": "net"}, (7,)),
    ],
    ids=["top", "map", "pooled", "classes"],
)
def test_the_interface_of_keras_applications(options, shape):
    model = models.RepVGG("A0", input_shape=(64, 96, 3), **options)

    assert model.output_shape == (None, *shape)
    assert model.name == options.get("name", "repvgg_a0")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.RepVGG("A7"), "variant='A7'"),
        (lambda: models.RepVGG("A0", pooling="sum"), "pooling='sum'"),
        (lambda: models.RepVGG("A0", weights="imagenet"), "there is no file"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_grouped_variants_have_groups_in_every_other_block():
    model = models.RepVGG("B1g4", input_shape=(32, 32, 3))

    blocks = [x for x in model.layers if hasattr(x, "groups")]

    assert [x.groups for x in blocks[:8]] == [1, 1, 4, 1, 4, 1, 4, 1]
    assert [x.strides[0] for x in blocks[:6]] == [2, 2, 1, 1, 1, 2]


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:Model '.*' has .* layers whose batch")
def test_numbers_of_parameters_of_repvgg_plus():
    model = models.RepVGGPlus()

    plain = keras_rep.deploy(models.drop_auxiliary_heads(model), verify=False)

    # 146.063 M and 127.152 M, as published.
    assert (trainable(model), trainable(plain)) == (146_062_864, 127_151_960)


def test_auxiliary_heads_train_and_go():
    model = small(models.RepVGGPlus)
    names = ("classifier", "auxiliary_1", "auxiliary_2", "auxiliary_3")
    weights = dict.fromkeys(names, 0.1) | {"classifier": 1.0}
    losses = dict.fromkeys(names, "sparse_categorical_crossentropy")
    model.compile("sgd", losses, weights)
    x, y = inputs_like(40, 24, 3, count=4), np.arange(4)
    before = np.array(array(model.get_layer("auxiliary_3").kernel))

    model.train_on_batch(x, dict.fromkeys(names, y))

    assert np.abs(array(model.get_layer("auxiliary_3").kernel) - before).max()
    main = models.drop_auxiliary_heads(model)
    plain = keras_rep.deploy(main)
    assert not [x for x in plain.layers if x.name.startswith("auxiliary")]
    expected = array(model(x, training=False)["classifier"])
    assert_close(array(plain(x, training=False)), expected, 5e-6)


# Weights of published models.


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

    theirs = timm_models.create(name, num_classes=10)
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


# The whole chain, for small forms of all.

SMALL = {
    "repvgg": lambda: small(models.RepVGG),
    "repvgg_same": lambda: small(models.RepVGG, padding="same"),
    "qarepvgg": lambda: small(models.RepVGG, conv=QARepConv),
    "orepavgg": lambda: small(models.RepVGG, conv=OREPAVGGConv),
    "mobile_one": lambda: small(models.MobileOne),
}


@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_the_whole_chain(make, tmp_path):
    model = make()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = inputs_like(40, 24, 3, count=4), np.arange(4)
    loss = model.train_on_batch(x, y)
    assert np.isfinite(loss)

    plain = keras_rep.deploy(model)

    expected = array(model(x, training=False))
    assert_close(array(plain(x, training=False)), expected, 5e-6)
    plain.save(tmp_path / "plain.keras")
    loaded = keras.saving.load_model(tmp_path / "plain.keras")
    assert_close(array(loaded(x, training=False)), expected, 5e-6)
