"""Running files back and comparing them."""

import math

import keras
import numpy as np
import pytest
from keras import layers

import keras_rep
from keras_rep.runtime import TFLiteRunner, latencies, peak_memory


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential(
        [keras.Input((3,), name="x"), layers.Dense(3, name="y")]
    )
    model.set_weights([np.eye(3, dtype="float32"), np.zeros(3, "float32")])
    return model


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    return keras_rep.export_tflite(model, folder / "identity.tflite")


DATA = np.array([[1.0, 0.0, -2.0], [0.0, 3.0, 1.0]], "float32")


def test_a_faithful_file(path, model):
    result = keras_rep.check(path, model, DATA)

    assert result == keras_rep.CheckResult(
        max_abs_error={"y": 0.0},
        max_rel_error={"y": 0.0},
        snr_db={"y": math.inf},
        cosine={"y": pytest.approx(1.0)},
        top1_agreement={"y": 1.0},
        runtime_ops={"FULLY_CONNECTED": 1},
    )


def test_an_unfaithful_file_is_measured(path, model):
    other = keras.models.clone_model(model)
    swapped = np.eye(3, dtype="float32")[:, [1, 0, 2]]
    other.set_weights([swapped, np.array([0, 0, 0.5], "float32")])

    result = keras_rep.check(path, other, DATA)

    # The model says [0, 1, -1.5] and [3, 0, 1.5], the file what comes in.
    assert result.max_abs_error["y"] == 3.0
    assert result.max_rel_error["y"] == 1.0
    assert result.top1_agreement["y"] == 0.0
    signal, noise = 0 + 1 + 2.25 + 9 + 2.25, 2 * (1 + 9) + 2 * 0.25 - 0
    noise = (1 + 1 + 0.25) + (9 + 9 + 0.25)
    np.testing.assert_allclose(
        result.snr_db["y"], 10 * np.log10(signal / noise), rtol=1e-6
    )
    lengths = signal * (np.square(DATA).sum())
    product = 0 * 1 + 1 * 0 + 1.5 * 2 + 3 * 0 + 0 * 3 + 1.5 * 1
    np.testing.assert_allclose(
        result.cosine["y"], product / np.sqrt(lengths), rtol=1e-6
    )


def test_integers_are_scaled_in_and_out(model, tmp_path):
    path = keras_rep.export_tflite(
        model,
        tmp_path / "int8.tflite",
        quantization="int8",
        representative_data=DATA,
    )

    (received,) = TFLiteRunner(path)({"x": DATA}).values()

    # One step of the input and one of the output, of 5 / 255 each.
    np.testing.assert_allclose(received, DATA, atol=2 * 5 / 255)


def test_latencies_come_in_the_order_of_the_files(path, tmp_path):
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(path.read_bytes())

    times = latencies([path, copy], rounds=5, warmup=1)

    assert [time.path for time in times] == [str(path), str(copy)]
    assert all(0 < t.low <= t.median <= t.high < 1 for t in times)


@pytest.mark.parametrize("options", [{"rounds": 0}, {"num_threads": 0}])
def test_nothing_to_measure(path, options):
    with pytest.raises(ValueError, match="Nothing to measure"):
        latencies([path], **options)


def test_peak_memory_grows_with_the_images(tmp_path):
    sizes = []
    for size in (8, 512):
        inputs = keras.Input((size, size, 8))
        model = keras.Model(inputs, layers.MaxPooling2D(1)(inputs) + 1.0)
        path = tmp_path / f"{size}.tflite"
        keras_rep.export_tflite(model, path)
        sizes.append(peak_memory(path))

    # An input and an output of 8 MiB each; allocators round and reuse.
    assert sizes[1] - sizes[0] > 12 * 2**20


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (DATA[:, :2], r"Expected shape \('samples', 3\)"),
        ([DATA, DATA], "does not fit the inputs"),
    ],
)
def test_wrong_inputs_are_explained(path, model, inputs, message):
    with pytest.raises(ValueError, match=message):
        keras_rep.check(path, model, inputs)


def test_another_models_file_is_noticed(path):
    other = keras.Sequential(
        [keras.Input((3,), name="x"), layers.Dense(3, name="z")]
    )

    with pytest.raises(ValueError, match="do not correspond"):
        keras_rep.check(path, other, DATA)


def test_another_shape_is_noticed(path):
    wide = keras.Sequential(
        [keras.Input((3,), name="x"), layers.Dense(4, name="y")]
    )
    with pytest.raises(ValueError, match=r"\{'y': \(3,\)\}, and a model wi"):
        keras_rep.check(path, wide, DATA)
    with pytest.raises(ValueError, match=r"Expected shape \('samples', 3\)"):
        TFLiteRunner(path)({"x": DATA[:, :2]})


def test_other_input_names_are_noticed(path):
    with pytest.raises(ValueError, match=r"Expected: \['x'\]"):
        TFLiteRunner(path)({"image": DATA})


def test_a_missing_file(model, tmp_path):
    with pytest.raises(ValueError, match="where there is no file"):
        keras_rep.check(tmp_path / "none.tflite", model, DATA)


@pytest.mark.parametrize("content", [b"", b"not a model", b"TFL3" * 40])
def test_a_broken_file(model, tmp_path, content):
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)

    with pytest.raises(keras_rep.DeployError, match="LiteRT cannot run"):
        keras_rep.check(path, model, DATA)
