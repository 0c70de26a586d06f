"""The command line on real files, and on all sorts of wrong ones."""

import argparse
import contextlib
import errno
import importlib
import json
import os
import pathlib
import pickle
import resource
import signal
import subprocess
import sys
import time
import zipfile

import keras
import numpy as np
import pytest
from arrays import randomize
from backends import conversion
from keras import layers

import keras_rep
from keras_rep.cli import process
from keras_rep.cli.data import Normalization, load_samples
from keras_rep.cli.main import main
from keras_rep.layers import RepConv

ROOT = pathlib.Path(keras_rep.__file__).parents[1]
# What a user writes to a file next to the model.
GATES = """
import os
import pathlib
import time

import keras


class Gate(keras.layers.Layer):
    def call(self, x):
        marker = os.environ.get("GATE_MARKER")
        # Only where deploy compares on one sample, not where Keras traces.
        if marker and x.shape[0] == 1:
            pathlib.Path(marker).touch()
            time.sleep(20)
        return x * 0.5


NUMBER = 3
"""


def net(*inner, classes=5, size=12, fresh=False):
    inputs = keras.Input((size, size, 3), name="image")
    x = RepConv(4, activation="relu", name="stem")(inputs)
    for layer in inner:
        x = layer(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, name="score")(x)
    model = keras.Model(inputs, x, name="n")
    if not fresh:
        randomize(model)
    return model


def two_inputs():
    left, right = (keras.Input((8, 8, 2), name=n) for n in ("left", "right"))
    total = RepConv(2, name="a")(left) + RepConv(2, name="b")(right)
    model = keras.Model([left, right], total, name="two")
    randomize(model)
    return model


def residual():
    inputs = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(4, 3, padding="same")(x)
    return keras.Model(inputs, layers.Add(name="sum")([x, inputs]))


def write_models():
    net().save("model.keras")
    net(classes=3).save("other.keras")
    net(size=10).save("small.keras")
    net(fresh=True).save("fresh.keras")
    two_inputs().save("two.keras")
    residual().save("residual.keras")
    net(layers.Lambda(lambda x: x)).save("lambda.keras")
    broken = net()
    kernel = broken.get_layer("score").kernel
    kernel.assign(np.full(kernel.shape, np.nan, "float32"))
    broken.save("nan.keras")
    pathlib.Path("text.keras").write_text("model")
    pathlib.Path("empty.keras").touch()
    content = pathlib.Path("model.keras").read_bytes()
    pathlib.Path("truncated.keras").write_bytes(content[: len(content) // 2])
    pathlib.Path("model.h5").write_bytes(content)
    with (
        zipfile.ZipFile("model.keras") as whole,
        zipfile.ZipFile("headless.keras", "w") as headless,
        zipfile.ZipFile("weightless.keras", "w") as weightless,
    ):
        for name in whole.namelist():
            if name != "config.json":
                headless.writestr(name, whole.read(name))
            if not name.endswith(".h5"):
                weightless.writestr(name, whole.read(name))


def write_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 12, 12, 3)).astype("float32")
    np.save("x.npy", x)
    np.save("thin.npy", x[..., :2])
    np.save("number.npy", np.float32(1))
    np.save("nan.npy", np.where(x > 3, np.nan, x))
    np.save("objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    pathlib.Path("pickled.npy").write_bytes(pickle.dumps([1, 2]))
    pathlib.Path("empty.npy").touch()
    np.savez("one.npz", anything=x)
    np.savez("none.npz")
    np.savez("names.npz", x=x, y=x)
    pair = {name: x[:, :8, :8, :2] for name in ("left", "right")}
    np.savez("two.npz", **pair)


def write_images():
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name in ("images", "broken", "no_images"):
        pathlib.Path(name).mkdir()
    for name in ("images/b.png", "images/a.JPG", "broken/a.bmp"):
        pixels = rng.integers(0, 256, (20, 16, 3)).astype("uint8")
        image.fromarray(pixels).save(name)
    pathlib.Path("images/notes.txt").write_text("no image")
    content = pathlib.Path("images/b.png").read_bytes()
    pathlib.Path("broken/b.png").write_bytes(content[: len(content) // 2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Good and bad files. No test changes them."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_models()
        write_data()
        write_images()
        pathlib.Path("folder.keras").mkdir()
        pathlib.Path("folder.tflite").mkdir()
        pathlib.Path("old.keras").write_text("old")
        pathlib.Path("old.tflite").write_text("old")
        pathlib.Path("old.html").write_text("old")
        model = keras.saving.load_model("model.keras", compile=False)
        path = keras_rep.export_tflite(model, "model.tflite")
        pathlib.Path("cut.tflite").write_bytes(path.read_bytes()[:1500])
        pathlib.Path("gates.py").write_text(GATES)
        patch.syspath_prepend(folder)
        net(importlib.import_module("gates").Gate()).save("gate.keras")
        # As in a process that has not seen it.
        sys.modules.pop("gates")
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def call(here, capsys):
    """Runs a command that must succeed, and returns what it printed."""

    def call(*arguments):
        code = main([str(each) for each in arguments])
        captured = capsys.readouterr()
        assert captured.err == ""
        assert code == 0
        return captured.out

    return call


def snapshot(folder):
    """The content of every file, by its name."""
    return {
        str(path.relative_to(folder)): path.is_file() and path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


def the_line(folder, capsys, arguments):
    """Runs a command that must fail, and returns the one line that it gives."""
    before = snapshot(folder)
    capsys.readouterr()

    code = main(arguments)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("keras-rep: ")
    assert captured.err.count("\n") == 1
    assert captured.err.endswith("\n")
    assert code == 2
    assert snapshot(folder) == before
    return captured.err


# The commands.


def test_explain(call):
    lines = call("explain", "model.keras")
    document = json.loads(call("explain", "model.keras", "--json"))

    assert "RepConv" in lines
    assert document["model"] == "n"
    rules = {row["path"]: row["rule"] for row in document["layers"]}
    assert rules == {"stem": "deploy_rep_layer", "pool": None, "score": None}
    before, after = document["multiply_adds"]
    assert after < before


def test_explain_limits_the_removal_of_residuals(call):
    remove = ("explain", "residual.keras", "--json", "--remove-residuals")
    rules = [
        [row["rule"] for row in json.loads(call(*arguments))["layers"]]
        for arguments in (remove, (*remove, "--max-growth", "1.01"))
    ]

    assert ["remove_residuals" in row for row in rules] == [True, False]


def test_deploy(call, tmp_path):
    target = tmp_path / "plain.keras"

    document = json.loads(call("deploy", "model.keras", target, "--json"))
    lines = call("deploy", "model.keras", target, "--force")

    plain = keras.saving.load_model(target)
    assert type(plain.get_layer("stem")).__name__ == "Conv2D"
    model = keras.saving.load_model("model.keras")
    assert keras_rep.verify(model, plain).passed
    assert document["bytes"] == target.stat().st_size
    assert document["parameters"][1] == plain.count_params()
    assert str(target.name) in lines.replace("\n", "")
    assert os.listdir(tmp_path) == ["plain.keras"]


def test_deploy_removes_residuals(call, tmp_path):
    target = tmp_path / "plain.keras"

    call("deploy", "residual.keras", target, "--remove-residuals")

    kinds = {type(x).__name__ for x in keras.saving.load_model(target).layers}
    assert "Add" not in kinds


def test_layers_of_the_users_own(call, folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(folder)

    for command in (("explain",), ("deploy", tmp_path / "plain.keras")):
        name, *out = command
        call(name, "gate.keras", *out, "--custom", "gates:Gate")


@conversion
@pytest.mark.parametrize(
    ("options", "least_snr"),
    [
        ((), 100),
        (("--float16",), 40),
        (("--dynamic", "--batch-size", "3"), 20),
        (("--int8", "--data", "x.npy", "--limit", "8", "--per-tensor"), 15),
        (("--int16x8", "--data", "one.npz", "--input-type", "float32"), 30),
    ],
)
def test_export_and_check(call, tmp_path, options, least_snr):
    target = tmp_path / "m.tflite"

    document = json.loads(
        call("export", "model.keras", target, "--json", *options)
    )
    check = ("check", target, "model.keras", "--data", "x.npy", "--layers")
    result = json.loads(call(*check, "--json"))

    assert document["bytes"] == target.stat().st_size
    assert document["backend"] == "tensorflow"
    assert result["snr_db"]["score"] > least_snr
    assert result["runtime_ops"]["CONV_2D"] == 1
    assert "stem" in {row["name"] for row in result["layers"]}
    assert "score" in call(*check)
    assert os.listdir(tmp_path) == ["m.tflite"]


@conversion
@pytest.mark.parametrize("name", ["m.tflite", "m.onnx"])
def test_export_without_deploying(call, tmp_path, name):
    numbers = []
    for options in ([], ["--as-is", "--force"]):
        call("export", "model.keras", tmp_path / name, *options)

        check = ("check", tmp_path / name, "model.keras", "--data", "x.npy")
        operations = json.loads(call(*check, "--json"))["runtime_ops"]
        numbers.append(sum(operations.values()))

    # Another convolution, and a sum, at least.
    assert numbers[1] >= numbers[0] + 2


@conversion
def test_export_what_is_not_verified(call, tmp_path):
    target = tmp_path / "m.tflite"

    call("export", "nan.keras", target, "--no-verify", "--select-ops")

    assert target.stat().st_size


@conversion
def test_export_to_onnx(call, tmp_path):
    target = tmp_path / "m.onnx"

    call("export", "model.keras", target, "--opset", "15")

    onnx = pytest.importorskip("onnx")
    assert onnx.load(target).opset_import[0].version == 15
    check = ("check", target, "model.keras", "--data", "x.npy", "--json")
    assert json.loads(call(*check))["snr_db"]["score"] > 100


@conversion
def test_ranges_come_from_normalized_images(call, tmp_path):
    target = tmp_path / "m.tflite"
    normalize = ("--scale", "1/127.5", "--mean", "1,1,1", "--std", "0.5")
    data = ("--int8", "--data", "images", *normalize)

    call("export", "model.keras", target, *data)

    scale, zero_point = keras_rep.runtime.TFLiteRunner(target).parameters[
        "image"
    ]
    # From -2 to 2 in 255 steps; resizing keeps the noise from both ends.
    assert 0.5 < scale * 255 / 4 < 1
    assert abs(zero_point) < 20


def test_check_without_noise_is_valid_json(call, monkeypatch):
    """JSON has no infinity."""
    zero, one = {"y": 0.0}, {"y": 1.0}
    result = keras_rep.CheckResult(zero, zero, {"y": np.inf}, one, one, {})
    monkeypatch.setattr(keras_rep, "check", lambda *_, **__: result)

    text = call(
        "check", "model.tflite", "two.keras", "--data", "two.npz", "--json"
    )

    assert json.loads(text)["snr_db"] == {"y": None}
    assert "Infinity" not in text


def test_bench(call):
    measure = ("bench", "model.tflite", "model.tflite", "--rounds", "3")

    (first, second) = json.loads(call(*measure, "--json"))["files"]
    lines = call(*measure, "--threads", "2")

    assert first["low_seconds"] <= first["median_seconds"]
    assert first["bytes"] == pathlib.Path("model.tflite").stat().st_size
    assert second["peak_memory_bytes"] > 0
    assert lines.count("model.tflite") == 2
    assert "threads: 2" in lines


def test_report(call, tmp_path):
    target = tmp_path / "r.html"

    call("report", "model.keras", "--out", target, "--files", "model.tflite")

    assert "stem" in target.read_text()
    assert os.listdir(tmp_path) == ["r.html"]


def test_what_report_hands_on(call, tmp_path, monkeypatch):
    calls = []

    def write_report(model, path, **options):
        path.write_text("page")
        calls.append((model.name, options))

    monkeypatch.setattr(keras_rep, "write_report", write_report)
    (tmp_path / "model.tflite").touch()
    other = str(tmp_path / "model.tflite")

    for files in (["model.tflite"], ["model.tflite", other], []):
        files = ["--files", *files] if files else []
        call("report", "model.keras", "--out", tmp_path / "r.html", *files)
        (tmp_path / "r.html").unlink()

    assert calls == [
        ("n", {"files": {"model": "model.tflite"}}),
        ("n", {"files": {"model.tflite": "model.tflite", other: other}}),
        ("n", {"files": None}),
    ]


# Data.


def test_samples_are_normalized_channel_by_channel(here):
    model = keras.saving.load_model("model.keras", compile=False)
    normalization = Normalization([0.5], [1.0, 2.0, 3.0], [4.0])

    received = load_samples("x.npy", model, normalization, limit=2)

    expected = (np.load("x.npy")[:2] * 0.5 - [1, 2, 3]) / 4
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)
    first = np.moveaxis(np.load("x.npy"), -1, 1)[:2]
    np.testing.assert_allclose(
        normalization(first), np.moveaxis(expected, -1, 1), rtol=1e-5, atol=1e-6
    )


def test_values_stay_as_they_are(here):
    model = keras.saving.load_model("two.keras", compile=False)

    left, right = load_samples("two.npz", model, Normalization())

    np.testing.assert_array_equal(left, np.load("two.npz")["left"])
    np.testing.assert_array_equal(right, np.load("two.npz")["right"])


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_resized_in_the_order_of_their_names(here, channels, layout):
    image = pytest.importorskip("PIL.Image")
    shape = (8, 6, channels)
    if layout == "channels_first":
        shape = (channels, 8, 6)
    model = keras.Sequential([keras.Input(shape), layers.Activation("relu")])

    received = load_samples("images", model, Normalization())

    mode = {1: "L", 3: "RGB"}[channels]
    for index, name in enumerate(("a.JPG", "b.png")):
        with image.open(pathlib.Path("images", name)) as picture:
            small = picture.convert(mode).resize((6, 8), image.BILINEAR)
        expected = np.asarray(small, "float32").reshape(8, 6, channels)
        if layout == "channels_first":
            expected = np.moveaxis(expected, -1, 0)
        np.testing.assert_array_equal(received[index], expected)


# Wrong input: one line, exit code 2, and nothing changed.

CHECK = ["check", "model.tflite", "model.keras", "--data"]
EXPORT = ["export", "model.keras"]
INT8 = [*EXPORT, "new.tflite", "--int8", "--data"]


WRONG = [
    # No command.
    ([], "arguments are required: COMMAND. Run `keras-rep --help`"),
    (["frobnicate"], "invalid choice: 'frobnicate'"),
    (["explain"], "required: MODEL. Run `keras-rep explain --help`"),
    (["explain", "model.keras", "--frob"], "unrecognized arguments"),
    # No model.
    (["explain", "missing.keras"], "where there is no file"),
    (["explain", "text.keras"], "no zip archive"),
    (["explain", "empty.keras"], "no zip archive"),
    (["explain", "truncated.keras"], "no zip archive"),
    (["explain", "headless.keras"], "without config.json"),
    (["explain", "weightless.keras"], "all of their weights"),
    (["explain", "model.h5"], "ends in '.h5'"),
    (["explain", "folder.keras"], "the path of a folder"),
    (["explain", "lambda.keras"], "a Lambda layer with Python code"),
    (["explain", "gate.keras"], "Could not locate class 'Gate'"),
    (["report", "missing.keras"], "where there is no file"),
    # No class.
    (["explain", "gate.keras", "--custom", "gates"], "--custom gates."),
    (["explain", "gate.keras", "--custom", ":Gate"], "--custom :Gate."),
    (["explain", "gate.keras", "--custom", "nowhere:X"], "named 'nowhere'"),
    (["explain", "gate.keras", "--custom", "json:Gate"], "no such name"),
    (["explain", "gate.keras", "--custom", "json:JSONDecoder"], "no layer"),
    (["explain", "gate.keras", "--custom", "keras:ops"], "no layer"),
    # Options that do not fit.
    (["explain", "model.keras", "--max-growth", "2"], "of no use here"),
    (
        ["explain", "model.keras", "--remove-residuals", "--max-growth=-1"],
        "expected a positive number",
    ),
    ([*EXPORT, "new.tflite", "--int8"], "--int8 needs data"),
    ([*EXPORT, "new.tflite", "--data", "x.npy"], "of no use here"),
    ([*EXPORT, "new.tflite", "--int8", "--float16"], "not allowed with"),
    ([*EXPORT, "new.tflite", "--opset", "15"], "--opset for 'new.tflite'"),
    ([*EXPORT, "new.onnx", "--int8"], "--int8 for 'new.onnx'"),
    ([*EXPORT, "new.onnx", "--opset", "3"], "opset=3"),
    ([*EXPORT, "new.onnx", "--opset", "new"], "a positive integer"),
    ([*EXPORT, "new.tflite", "--batch-size", "0"], "a positive integer"),
    ([*EXPORT, "new.tflite", "--input-type", "int4"], "choice: 'int4'"),
    ([*EXPORT, "new.tflite", "--input-type", "int8"], "input_type='int8'"),
    ([*EXPORT, "new.tflite", "--per-tensor"], "`per_tensor` is of no use"),
    ([*EXPORT, "new.tflite", "--from-backend", "mxnet"], "choice: 'mxnet'"),
    # No data.
    ([*INT8, "missing.npy"], "where there is nothing"),
    ([*INT8, "empty.npy"], "Cannot read 'empty.npy'"),
    ([*INT8, "model.keras"], "Expected ['image']"),
    ([*INT8, "thin.npy"], "`thin.npy` does not fit the inputs"),
    ([*INT8, "number.npy"], "shape ()"),
    ([*INT8, "nan.npy"], "`nan.npy` has values that are not finite"),
    ([*INT8, "objects.npy"], "nothing pickled"),
    ([*INT8, "pickled.npy"], "nothing pickled"),
    ([*INT8, "none.npz"], "names []. Expected ['image']"),
    ([*INT8, "names.npz"], "names ['x', 'y']. Expected ['image']"),
    ([*INT8, "no_images"], "holds no image"),
    ([*INT8, "broken"], "Received from Pillow"),
    ([*INT8, "x.npy", "--mean", "1,2"], "one for each channel"),
    ([*INT8, "x.npy", "--std", "0"], "Expected no zero"),
    ([*INT8, "x.npy", "--scale", "1/0"], "received '1/0'"),
    ([*INT8, "x.npy", "--limit", "0"], "a positive integer"),
    ([*CHECK, "thin.npy"], "shape (12, 12, 12, 2)"),
    (
        ["export", "two.keras", "new.tflite", "--int8", "--data", "x.npy"],
        "one for each of ['left', 'right']",
    ),
    (
        ["export", "two.keras", "new.tflite", "--int8", "--data", "images"],
        "does not take a folder of images",
    ),
    # Nowhere to write to.
    (["deploy", "model.keras", "old.keras"], "'old.keras' exists"),
    ([*EXPORT, "old.tflite"], "'old.tflite' exists"),
    (["report", "model.keras", "--out", "old.html"], "'old.html' exists"),
    (["deploy", "model.keras", "folder.keras"], "the path of a folder"),
    (["deploy", "model.keras", "no/new.keras"], "does not exist, 'no'"),
    (["deploy", "model.keras", "new.h5"], "ends in '.keras'"),
    ([*EXPORT, "new.pb"], "ends in '.tflite' or '.onnx'"),
    (["deploy", "model.keras", "/proc/new.keras"], "takes new files"),
    # Models and files that are not what they should be.
    (["deploy", "nan.keras", "new.keras"], "differs from the model"),
    (["deploy", "nan.keras", "old.keras", "--force"], "differs from"),
    (["export", "nan.keras", "new.tflite"], "differs from the model"),
    (["export", "nan.keras", "new.onnx", "--as-is"], "differs from it"),
    ([*EXPORT, "new.onnx", "--select-ops"], "--select-ops for 'new.onnx'"),
    (["check", "none.tflite", *CHECK[2:], "x.npy"], "there is no file"),
    (["check", "cut.tflite", *CHECK[2:], "x.npy"], "LiteRT cannot run"),
    (["check", "old.tflite", *CHECK[2:], "x.npy"], "LiteRT cannot run"),
    (["check", "model.keras", *CHECK[2:], "x.npy"], "No runtime for"),
    (
        ["check", "model.tflite", "two.keras", "--data", "two.npz"],
        "Received: ['left', 'right']. Expected: ['image']",
    ),
    (["bench", "missing.tflite"], "Received: no such file"),
    (["bench", "model.keras"], "Received: another kind"),
    (["bench", "cut.tflite"], "LiteRT cannot run"),
    (["bench", "model.tflite", "--rounds", "0"], "a positive integer"),
    (["bench", "model.tflite", "--threads", "-1"], "a positive integer"),
    (
        ["report", "model.keras", "--files", "none.tflite"],
        "Received: no such file",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    WRONG,
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input(here, capsys, arguments, message):
    assert message in the_line(here, capsys, arguments)


def other_backend():
    is_jax = keras.backend.backend() == "jax"
    return "tensorflow" if is_jax else "jax"


def test_a_process_on_another_backend(here, capsys):
    arguments = [*EXPORT, "new.tflite", "--from-backend", other_backend()]

    assert "Keras does not run on" in the_line(here, capsys, arguments)


def test_a_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    options = argparse.Namespace(from_backend=other_backend(), debug=False)

    with pytest.raises(ValueError, match=r"pip install 'keras-rep\["):
        process.owned(options).__enter__()


def test_a_missing_pillow(here, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "PIL" else find(n)
    )

    line = the_line(here, capsys, [*INT8, "images"])

    assert "pip install pillow" in line


DEPLOY_OVER = ["deploy", "model.keras", "old.keras", "--force"]
EXPORT_OVER = [*EXPORT, "old.tflite", "--force"]
overwriting = pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(DEPLOY_OVER, id="deploy"),
        pytest.param(EXPORT_OVER, id="export", marks=conversion),
    ],
)


@overwriting
def test_a_full_disk(here, capsys, monkeypatch, arguments):
    def replace(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "new file")

    monkeypatch.setattr(pathlib.Path, "replace", replace)

    line = the_line(here, capsys, arguments)

    assert "'new file'. Received: No space left on device" in line


def test_a_file_that_grows_too_large(here, capsys):
    """The nearest to a full disk that a test can have for real."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        line = the_line(here, capsys, DEPLOY_OVER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "File too large" in line


@contextlib.contextmanager
def heeding_interrupts():
    """Where tests run in the background, they and their children do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@overwriting
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_write(here, capsys, monkeypatch, arguments, name):
    def replace(path, _):
        assert path.exists()
        signal.raise_signal(getattr(signal, name))

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(pathlib.Path, "replace", replace)
    with heeding_interrupts():
        line = the_line(here, capsys, arguments)

    assert line == "keras-rep: Interrupted. No file is left half written.\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_nobody_foresaw(here, capsys, monkeypatch):
    def explain(*_, **__):
        raise ZeroDivisionError("one\n  two " + "long " * 1000)

    monkeypatch.setattr(keras_rep, "explain", explain)

    line = the_line(here, capsys, ["explain", "model.keras"])
    assert line.startswith("keras-rep: ZeroDivisionError: one two long")
    assert line.endswith("long. Run it again with --debug for the traceback.\n")
    assert len(line) < 1300

    assert main(["explain", "model.keras", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_what_libraries_print_is_not_in_the_document(here, capsys, monkeypatch):
    explain = keras_rep.explain

    def chatty(*args, **kwargs):
        print("chatter")
        return explain(*args, **kwargs)

    monkeypatch.setattr(keras_rep, "explain", chatty)

    assert main(["explain", "model.keras", "--json"]) == 0

    captured = capsys.readouterr()
    assert json.loads(captured.out)["model"] == "n"
    assert captured.err == "chatter\n"


@pytest.mark.filterwarnings("always:Model")
def test_warnings_take_one_line(here, capsys, tmp_path):
    assert main(["deploy", "fresh.keras", str(tmp_path / "new.keras")]) == 0

    errors = capsys.readouterr().err
    assert errors.startswith("keras-rep: warning: Model 'n' has 1 layers")
    assert errors.count("\n") == 1


def test_a_reader_that_has_seen_enough(here, capsys, monkeypatch):
    """As in `keras-rep explain model.keras | head`."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        code = main(["explain", "model.keras"])

    assert code == 2
    assert capsys.readouterr().err == ""


# Processes of their own.


MODULE = ("-m", "keras_rep")
# What the script `keras-rep` does, which pip installs.
SCRIPT = ("-c", "import sys, keras_rep_command as c; sys.exit(c.start())")


def start(folder, arguments, how=MODULE, **environment):
    return subprocess.Popen(
        [sys.executable, *how, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_help(folder):
    with start(folder, ["--help"]) as child:
        text, _ = child.communicate()

    assert child.returncode == 0
    for name in ("explain", "deploy", "export", "check", "bench", "report"):
        assert f"    {name} " in text


def test_the_script_writes_one_line(folder):
    with start(folder, ["explain", "none.keras"], SCRIPT) as child:
        output, errors = child.communicate()

    assert (child.returncode, output) == (2, "")
    assert errors.startswith("keras-rep: ")
    assert errors.count("\n") == 1
    assert "none.keras" in errors


def test_a_backend_that_does_not_exist(folder):
    arguments = ["explain", "model.keras"]
    with start(folder, arguments, SCRIPT, KERAS_BACKEND="mxnet") as child:
        output, errors = child.communicate()

    assert (child.returncode, output) == (2, "")
    assert errors.startswith("keras-rep: Keras cannot start.")
    assert errors.count("\n") == 1


def test_an_early_interrupt(folder):
    """While Keras is imported."""
    with (
        heeding_interrupts(),
        start(folder, ["explain", "model.keras"], SCRIPT) as child,
    ):
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=30)

    assert (child.returncode, output) == (2, "")
    assert errors.startswith("keras-rep: Interrupted.")


def test_an_interrupted_process(folder, tmp_path):
    before = snapshot(folder)
    marker = tmp_path / "marker"
    arguments = ["export", "gate.keras", "old.tflite", "--force"]
    arguments += ["--custom", "gates:Gate"]
    with (
        heeding_interrupts(),
        start(folder, arguments, GATE_MARKER=str(marker)) as child,
    ):
        while not marker.exists() and child.poll() is None:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=30)

    assert child.returncode == 2, errors
    assert output == ""
    assert errors.splitlines()[-1].startswith("keras-rep: Interrupted.")
    assert "Traceback" not in errors
    assert snapshot(folder) == before


def test_another_backend(folder, tmp_path):
    other = other_backend()
    pytest.importorskip(other)
    arguments = ["export", "model.keras", str(tmp_path / "m.tflite"), "--json"]
    with start(folder, [*arguments, "--from-backend", other]) as child:
        output, errors = child.communicate()

    assert child.returncode == 0, errors
    assert json.loads(output)["backend"] == other
    # LiteRT and the converter write past Python.
    assert "XNNPACK" not in errors
    assert "keras-rep" not in errors
    assert (tmp_path / "m.tflite").exists()
