"""Metadata in TFLite files, as the official library reads them."""

import ctypes
import json

import keras
import numpy as np
import pytest
from arrays import randomize
from backends import conversion
from keras import layers
from test_export_tflite import net, samples

import keras_rep
from keras_rep import Metadata

LABELS = ("cat", "dog", "élan", "fish", "gnu")


@pytest.fixture(scope="module")
def model():
    model = net()
    randomize(model)
    return model


def read(path):
    """The metadata as a dictionary, and the file of labels."""
    # tflite-support links with libusb, which a system need not have.
    libusb = pytest.importorskip(
        "libusb_package", reason="`make` installs libusb-package"
    )
    ctypes.CDLL(str(libusb.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    metadata = pytest.importorskip(
        "tensorflow_lite_support.metadata.python.metadata",
        reason="tflite-support, which `make` installs, has a wheel for Linux",
    )
    reader = metadata.MetadataDisplayer.with_model_file(str(path))
    files = {
        name: reader.get_associated_file_buffer(name).decode()
        for name in reader.get_packed_associated_file_list()
    }
    return json.loads(reader.get_metadata_json()), files


def exported(model, folder, metadata):
    return keras_rep.export_tflite(
        model,
        folder / "net.tflite",
        quantization="int8",
        representative_data=samples(),
        metadata=metadata,
    )


@conversion
def test_what_is_written_is_read(model, tmp_path):
    metadata = Metadata(
        description="Says what is in a picture.",
        author="A. Nyone",
        license="Apache-2.0",
        mean=(1.0, 2.0, 3.0, 4.0),
        std=58.5,
        labels=LABELS,
    )

    path = exported(model, tmp_path, metadata)

    received, files = read(path)
    (graph,) = received.pop("subgraph_metadata")
    assert received == {
        "description": "Says what is in a picture.",
        "author": "A. Nyone",
        "license": "Apache-2.0",
        "min_parser_version": "1.0.0",
    }
    (image,), (score,) = graph.values()
    (unit,) = image["process_units"]
    assert unit == {
        "options_type": "NormalizationOptions",
        "options": {"mean": [1.0, 2.0, 3.0, 4.0], "std": [58.5]},
    }
    assert image["name"] == "image"
    assert image["content"]["content_properties_type"] == "ImageProperties"
    file = {"name": "labels.txt", "type": "TENSOR_AXIS_LABELS"}
    assert score == {"name": "score", "associated_files": [file]}
    assert files == {"labels.txt": "cat\ndog\nélan\nfish\ngnu\n"}


@conversion
def test_the_model_in_the_file_stays_the_same(model, tmp_path):
    runners = [
        keras_rep.runtime.TFLiteRunner(exported(model, tmp_path, metadata))
        for metadata in (None, Metadata(labels=LABELS))
    ]

    outputs = [runner({"image": samples()})["score"] for runner in runners]
    np.testing.assert_array_equal(*outputs)
    assert runners[0].parameters == runners[1].parameters


@conversion
def test_colours_and_ends_without_labels(tmp_path):
    left = keras.Input((8, 8, 3), name="left")
    right = keras.Input((8, 8, 1), name="right")
    numbers = keras.Input((5,), name="numbers")
    x = layers.GlobalAveragePooling2D()(layers.Concatenate()([left, right]))
    x = layers.Concatenate()([x, numbers])
    outputs = {"one": layers.Dense(5)(x), "two": layers.Dense(2)(x)}
    model = keras.Model([left, right, numbers], outputs)

    path = keras_rep.export_tflite(
        model, tmp_path / "net.tflite", metadata=Metadata(labels=LABELS)
    )

    (graph,) = read(path)[0]["subgraph_metadata"]
    inputs, ends = (
        {tensor["name"]: tensor for tensor in tensors}
        for tensors in graph.values()
    )
    assert set(inputs) == {"left", "right", "numbers"}
    spaces = [
        inputs[name]["content"]["content_properties"]["color_space"]
        for name in ("left", "right")
    ]
    assert spaces == ["RGB", "GRAYSCALE"]
    assert "content" not in inputs["numbers"]
    assert "associated_files" in ends["one"]
    assert "associated_files" not in ends["two"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"labels": LABELS}, "of type dict"),
        (Metadata(labels=LABELS[:4]), "4 labels"),
        (Metadata(labels="abcde"), "Expected a sequence"),
        (Metadata(labels=("a\nb", *LABELS[1:])), "several lines"),
        (Metadata(mean=1.0), "Half a normalization"),
        (Metadata(mean=(1.0, 2.0), std=1.0), "4. channels"),
        (Metadata(mean=0.0, std=0.0), "positive `std`"),
    ],
)
def test_metadata_that_do_not_fit(metadata, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        exported(model, tmp_path, metadata)

    assert not list(tmp_path.iterdir())
