"""Every kind of net in every kind of file: run back, and no stray operation."""

import inspect

import keras
import pytest
from arrays import randomize
from keras import layers
from rewriting_helpers import inputs_like

import keras_rep
from keras_rep.layers import DBBConv, MobileOneConv, OREPAConv, RepConv

# The least signal-to-noise ratio of an output, in decibels. Float32 has seven
# digits and loses one. Half precision keeps three digits of every weight; int8
# some 40 dB of every weight or image, of which five layers take up to 20.
FORMATS = {
    "float32": 110,
    "float16": 55,
    "dynamic": 25,
    "int8": 20,
    "int16x8": 25,
    "onnx": 110,
}


def stride(x):
    x = RepConv(32, 3, strides=2, activation="relu")(x)
    return [DBBConv(6, 3, strides=2, padding="valid", name="map")(x)]


def groups(x):
    return [RepConv(64, 3, groups=2, activation="relu", name="map")(x)]


def dilation(x):
    x = RepConv(32, 3, dilation_rate=2, activation="relu")(x)
    return [OREPAConv(6, 3, dilation_rate=(2, 1), name="map")(x)]


def depthwise(x):
    x = MobileOneConv(4, 3, groups=4, activation="relu6")(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, depth_multiplier=2)(x)
    return [MobileOneConv(6, 1, name="map")(layers.ReLU()(x))]


def two_ends(left, right):
    a, b = RepConv(4, 3, name="a")(left), RepConv(4, 3, name="b")(right)
    x = layers.ReLU()(layers.Concatenate()([a, b]))
    pooled = layers.GlobalAveragePooling2D()(x)
    return [RepConv(4, 3, name="map")(x), layers.Dense(3, name="score")(pooled)]


def everything(left, right):
    x = RepConv(8, 3, strides=2, activation="relu", name="a")(left)
    y = RepConv(8, 3, strides=2, activation="relu", name="b")(right)
    x = layers.Concatenate()([x, y])
    x = RepConv(64, 3, groups=2, activation="relu", name="grouped")(x)
    x = MobileOneConv(64, 3, groups=64, activation="relu", name="depthwise")(x)
    x = RepConv(4, 3, dilation_rate=2, name="dilated")(x)
    return [x, layers.Dense(3, name="score")(layers.GlobalMaxPooling2D()(x))]


CONV, DEPTHWISE, JOIN = "CONV_2D", "DEPTHWISE_CONV_2D", "CONCATENATION"
# For each net the operations in a TFLite file, and those in an ONNX file:
# there each Transpose leads from an input to channels first, or back to an
# output or to what needs the channels last.
OPERATIONS = {
    stride: ({CONV: 2}, {"Transpose": 2, "Conv": 2, "Relu": 1}),
    groups: ({CONV: 1}, {"Transpose": 2, "Conv": 1, "Relu": 1}),
    dilation: ({CONV: 2}, {"Transpose": 2, "Conv": 2, "Relu": 1}),
    depthwise: (
        {DEPTHWISE: 2, CONV: 1},
        {"Transpose": 2, "Conv": 3, "Clip": 1, "Relu": 1},
    ),
    two_ends: (
        {CONV: 3, JOIN: 1, "RELU": 1, "MEAN": 1, "FULLY_CONNECTED": 1},
        {"Transpose": 3, "Conv": 3, "Relu": 1, "Concat": 1}
        | {"GlobalAveragePool": 1, "Squeeze": 1, "MatMul": 1, "Add": 1},
    ),
    everything: (
        {CONV: 4, JOIN: 1, DEPTHWISE: 1, "REDUCE_MAX": 1, "FULLY_CONNECTED": 1},
        {"Transpose": 3, "Conv": 5, "Relu": 4, "Concat": 1}
        | {"GlobalMaxPool": 1, "Squeeze": 1, "MatMul": 1, "Add": 1},
    ),
}


def model_of(make):
    names = list(inspect.signature(make).parameters)
    inputs = [keras.Input((16, 16, 4), name=name) for name in names]
    return keras.Model(inputs, make(*inputs))


def export(model, form, folder, data):
    if form == "onnx":
        return keras_rep.export_onnx(model, folder / "net.onnx")
    return keras_rep.export_tflite(
        model,
        folder / "net.tflite",
        quantization=None if form == "float32" else form,
        representative_data=data if form.startswith("int") else None,
    )


def check_all_forms(make, folder):
    model = model_of(make)
    randomize(model)
    data = [inputs_like(16, 16, 4, count=40) for _ in model.inputs]
    for form, least_snr in FORMATS.items():
        path = export(model, form, folder, data)

        result = keras_rep.check(path, model, data)

        assert min(result.snr_db.values()) > least_snr, form
        received = dict(result.runtime_ops)
        tflite, onnx = OPERATIONS[make]
        if form == "float16":
            # Reads a kernel back; merged when the file is loaded.
            assert received.pop("DEQUANTIZE")
        if form == "int16x8" and JOIN in tflite:
            # Both sides of it get one scale.
            assert received.pop("QUANTIZE") == 1
        assert received == (onnx if form == "onnx" else tflite), form


def test_a_net_with_everything(tmp_path):
    check_all_forms(everything, tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("make", [n for n in OPERATIONS if n is not everything])
def test_a_net_with(make, tmp_path):
    check_all_forms(make, tmp_path)
