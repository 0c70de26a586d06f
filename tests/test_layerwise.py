"""Comparing layer by layer: the row of a layer is that layer's."""

import keras
import numpy as np
import pytest
from arrays import array, randomize
from backends import conversion
from keras import layers
from rewriting_helpers import inputs_like

import keras_rep
from keras_rep.layers import RepConv


def net():
    """Layers that converters merge, a nested model, a shared layer."""
    inputs = keras.Input((9, 8, 4), name="image")
    x = RepConv(8, strides=2, name="stem")(inputs)
    x = layers.ReLU(name="act")(x)
    nested = keras.Sequential(
        [keras.Input((5, 4, 8)), RepConv(8, name="conv_1")], name="block"
    )
    x = layers.Add(name="sum")([nested(x), x])
    x = layers.MaxPooling2D(2, name="pool")(x)
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    x = layers.LeakyReLU(0.2, name="leaky")(shared(shared(x)))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(inputs, layers.Dense(3, name="score")(x), name="net")


def files(model, folder):
    for export, name in (
        (keras_rep.export_tflite, "net.tflite"),
        (keras_rep.export_onnx, "net.onnx"),
    ):
        yield export(model, folder / name)


def test_every_layer_that_is_called_once_has_a_row(tmp_path):
    model = net()
    randomize(model)
    data = inputs_like(9, 8, 4, count=3)

    for path in files(model, tmp_path):
        rows = keras_rep.check(path, model, data, layers=True).layers

        assert [row.name for row in rows] == [
            *("stem", "block/conv_1", "sum", "pool", "leaky", "mean"),
        ]
        for row in rows:
            assert row.snr_db > 110
            assert row.cosine == pytest.approx(1.0)


def test_an_error_shows_where_it_enters(tmp_path):
    model = net()
    randomize(model)
    (path,) = (p for p in files(model, tmp_path) if p.suffix == ".tflite")
    # What the file has no part in: the model moved on after the export.
    kernel = model.get_layer("block").get_layer("conv_1").weights[0]
    kernel.assign(1.5 * array(kernel))

    result = keras_rep.check(
        path, model, inputs_like(9, 8, 4, count=3), layers=True
    )

    snr = {row.name: row.snr_db for row in result.layers}
    assert snr["stem"] > 110
    assert snr["block/conv_1"] < 30
    assert snr["mean"] < 60
    assert "block/conv_1" in str(result)


@conversion
def test_int8_rows_are_real_numbers(tmp_path):
    model = net()
    randomize(model)
    data = inputs_like(9, 8, 4, count=20)
    path = keras_rep.export_tflite(
        model,
        tmp_path / "net.tflite",
        quantization="int8",
        representative_data=data,
    )

    rows = keras_rep.check(path, model, data, layers=True).layers

    # Eight bits for each tensor: some 40 dB, and every layer adds its own.
    # A row for each operation; the sum is part of a convolution.
    names = [row.name for row in rows]
    assert names[::3] == ["stem", "shared", "mean"]
    assert len(names) == len(set(names)) + 1 == 8
    assert all(20 < row.snr_db < 60 for row in rows)


@conversion
def test_without_delegates_the_file_computes_the_same(tmp_path):
    model = net()
    randomize(model)
    path = keras_rep.export_tflite(model, tmp_path / "net.tflite")

    result = keras_rep.check(path, model, inputs_like(9, 8, 4), delegates=False)

    assert result.snr_db["score"] > 110
    np.testing.assert_array_equal(result.layers, ())


def test_a_file_of_another_kind(tmp_path):
    with pytest.raises(ValueError, match=r"Expected '.tflite' or '.onnx'"):
        keras_rep.check(tmp_path / "net.keras", net(), inputs_like(9, 8, 4))
