"""A quantized file beside the model in floating point."""

import keras
import numpy as np
import pytest
from backends import conversion
from quantize_nets import chain, images, mobile

import keras_rep
from keras_rep.quantize import calibrate, compare, fake_quantize
from keras_rep.runtime import TFLiteRunner


@pytest.fixture(scope="module")
def model():
    return mobile()


@pytest.fixture(scope="module")
def labels(model):
    """The model's own classes, every fourth of them wrong."""
    score, _ = model.predict(images(40, seed=5), verbose=0)
    classes = score.argmax(-1)
    classes[::4] += 1
    return classes % 5


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    return keras_rep.export_tflite(
        model,
        tmp_path_factory.mktemp("files") / "net.tflite",
        quantization="int8",
        representative_data=images(),
    )


@conversion
def test_figures_are_those_of_the_outputs(model, file, labels):
    data = images(40, seed=5)

    report = compare(model, file, data, labels)

    expected, _ = model.predict(data, verbose=0)
    received = TFLiteRunner(file)({"image": data})["score"]
    same = expected.argmax(-1) == received.argmax(-1)
    assert report.agreement == same.mean()
    assert report.float_accuracy == 0.75
    assert report.file_accuracy == np.mean(received.argmax(-1) == labels)
    assert report.saturated == 0.0
    assert set(report.snr_db) == {"score", "chance"}
    assert report.operations == TFLiteRunner(file).operations


@conversion
def test_every_operation_has_a_row(model, file):
    report = compare(model, file, images(10))

    names = [row.name for row in report.layers]
    assert names[:3] == ["stem", "depthwise", "project"]
    assert len(names) == sum(report.operations.values())
    assert all(20 < row.snr_db < 80 for row in report.layers)
    assert [each.name for each in report.health if each.identity_gain] == []


@conversion
def test_the_layer_that_is_wrong_shows(model, tmp_path):
    data = images()
    ranges = calibrate(model, data)
    ranges["project"] = [x * 30 for x in ranges["project"]]
    path = keras_rep.export_tflite(
        model, tmp_path / "net.tflite", quantization="int8", ranges=ranges
    )

    rows = {row.name: row for row in compare(model, path, data).layers}

    assert rows["project"].snr_db < rows["depthwise"].snr_db - 15


@conversion
def test_equalized_layers_are_compared_up_to_their_factors(tmp_path):
    model, data = chain("relu"), images()
    path = keras_rep.export_tflite(
        model,
        tmp_path / "net.tflite",
        quantization="int8",
        representative_data=data,
        per_tensor=True,
    )

    rows = {row.name: row for row in compare(model, path, data).layers}

    assert rows["second"].snr_db > 20
    assert rows["score"].snr_db > 20


@conversion
def test_saturated_outputs_are_counted(model, tmp_path):
    data = images()
    score, _ = model.predict(data, verbose=0)
    ranges = calibrate(model, data)
    middle = float(np.median(score.max(-1)))
    ranges["score"] = [ranges["score"][0], middle]
    path = keras_rep.export_tflite(
        model, tmp_path / "net.tflite", quantization="int8", ranges=ranges
    )

    assert 0.3 < compare(model, path, data).saturated < 0.7


@conversion
def test_other_ways_are_tried(file, model, tmp_path):
    report = compare(model, file, images(16, 5), calibration=images(16))

    assert len(report.variants) == 16
    assert len({each.name for each in report.variants}) == 16
    assert all(10 < each.snr_db < 60 for each in report.variants)
    text = str(report)
    for expected in ("What if", "per_tensor, percentile, repair + equalize"):
        assert expected in text
    assert "file accuracy" not in text

    page = keras_rep.write_report(
        model, tmp_path / "page.html", quantization=report
    )

    shown = page.read_text(encoding="utf-8")
    assert "<title>stem: " in shown
    assert "per_tensor, percentile, repair + equalize" in shown


@conversion
def test_rounded_models_are_compared(tmp_path):
    model, data = chain(), images()
    rounded = fake_quantize(model, calibrate(model, data))
    path = keras_rep.export_tflite(
        rounded, tmp_path / "net.tflite", quantization="int8"
    )

    report = compare(rounded, path, data)

    assert report.agreement >= 0.95
    assert report.snr_db["score"] > 30


@conversion
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((40, 5)), "argmax of one-hot"),
        (np.zeros(39, int), "40 integers"),
        (np.zeros(40), "a class for each sample"),
    ],
)
def test_labels_must_fit(model, file, labels, message):
    with pytest.raises(ValueError, match=message):
        compare(model, file, images(), labels)


@conversion
def test_files_must_fit(model, file, tmp_path):
    with pytest.raises(ValueError, match=r"none\.tflite"):
        compare(model, tmp_path / "none.tflite", images())
    other = keras.Sequential(
        [keras.Input((16, 16, 3), name="image"), keras.layers.Flatten()]
    )
    with pytest.raises(ValueError, match="do not correspond"):
        compare(other, file, images())
