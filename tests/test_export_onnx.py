"""Files in ONNX format: what is in them, and what they compute."""

import keras
import numpy as np
import onnx
import pytest
from arrays import randomize
from backends import conversion
from keras import layers
from rewriting_helpers import functional, inputs_like
from test_export_tflite import net, samples

import keras_rep
from keras_rep.layers import RepConv
from keras_rep.runtime import ONNXRunner


@pytest.fixture(scope="module")
def model():
    model = net()
    randomize(model)
    return model


def exported(model, folder, **options):
    randomize(model)
    return keras_rep.export_onnx(model, folder / "net.onnx", **options)


def interface(path):
    """Shapes of inputs and outputs by their names; strings for any number."""
    graph = onnx.load(path).graph
    return {
        value.name: [
            axis.dim_param or axis.dim_value
            for axis in value.type.tensor_type.shape.dim
        ]
        for value in (*graph.input, *graph.output)
    }


@conversion
@pytest.mark.parametrize("opset", [13, 18, 22])
def test_files_compute_what_the_model_does(opset, model, tmp_path):
    path = keras_rep.export_onnx(model, tmp_path / "net.onnx", opset=opset)

    result = keras_rep.check(path, model, samples())

    assert result.max_rel_error["score"] < 2e-6
    assert result.top1_agreement == {"score": 1.0}
    convolutions = {"Conv": 4, "Relu": 4, "Transpose": 1}
    head = {"GlobalAveragePool": 1, "Squeeze": 1, "MatMul": 1, "Add": 1}
    assert result.runtime_ops == convolutions | head
    versions = {x.domain: x.version for x in onnx.load(path).opset_import}
    assert versions[""] == opset


@conversion
def test_the_converter_gets_a_graph_without_kernels(
    model, tmp_path, monkeypatch
):
    import tf2onnx

    # It makes some sixty copies of what lies in the graph.
    make, sizes = tf2onnx.convert.from_graph_def, []

    def record(graph, **options):
        sizes.extend(node.ByteSize() for node in graph.node)
        return make(graph, **options)

    monkeypatch.setattr(tf2onnx.convert, "from_graph_def", record)
    path = keras_rep.export_onnx(model, tmp_path / "net.onnx")

    # The smallest kernel has 72 numbers.
    assert 0 < max(sizes) < 72 * 4
    assert list(interface(path)) == ["image", "score"]


def test_groups_are_in_the_file(model, tmp_path):
    path = keras_rep.export_onnx(model, tmp_path / "net.onnx")

    groups = [
        attribute.i
        for node in onnx.load(path).graph.node
        for attribute in node.attribute
        if attribute.name == "group"
    ]
    assert groups == [1, 2, 8, 1]


@conversion
@pytest.mark.parametrize(("batch_size", "axis"), [(3, 3), (None, "batch")])
def test_batch_sizes(batch_size, axis, model, tmp_path):
    path = keras_rep.export_onnx(
        model, tmp_path / "net.onnx", batch_size=batch_size
    )

    shapes = interface(path)
    assert shapes == {"image": [axis, 12, 12, 4], "score": [axis, 5]}
    result = keras_rep.check(path, model, samples(5))
    assert result.max_rel_error["score"] < 2e-6


@conversion
@pytest.mark.parametrize(
    "call",
    [
        lambda x: layers.Conv2D(4, 3)(layers.Normalization(3, 1.0, 2.0)(x)),
        # The exact GELU, and a sum with a number behind a convolution.
        lambda x: layers.Activation("gelu")(layers.Conv2D(4, 3)(x)),
        lambda x: layers.Activation("hard_swish")(
            layers.Conv2D(4, 3, use_bias=False)(x)
        ),
    ],
    ids=["normalization", "gelu", "hard_swish"],
)
def test_what_tf2onnx_stumbles_over(call, tmp_path):
    inputs = keras.Input((8, 8, 2))
    x = layers.ReLU()(call(layers.Conv2D(1, 1, activation="tanh")(inputs)))
    model = keras.Model(inputs, layers.Conv2D(2, 3)(x))

    path = exported(model, tmp_path)

    operations = ONNXRunner(path).operations
    assert operations["Transpose"] == 2
    result = keras_rep.check(path, model, inputs_like(8, 8, 2, count=4))
    assert max(result.max_rel_error.values()) < 5e-6


@conversion
def test_zeros_around_negative_numbers_count(tmp_path):
    """ONNX Runtime 1.31 drops them, where nothing stops it."""
    inputs = keras.Input((6, 6, 2), name="x")
    x = -0.5 - layers.Conv2D(3, 1, activation="relu")(inputs)
    x = layers.ZeroPadding2D(1)(x)
    model = keras.Model(inputs, layers.MaxPooling2D(3, 2, name="y")(x))

    path = exported(model, tmp_path)

    data = inputs_like(6, 6, 2)
    assert keras_rep.check(path, model, data).max_rel_error["y"] < 2e-6
    assert np.max(ONNXRunner(path)({"x": data})["y"]) > -1e-30


@conversion
def test_groups_in_three_dimensions(tmp_path):
    model = functional(
        lambda x: layers.Conv3D(4, 2, groups=2, name="y")(x), 5, 5, 5, 2
    )
    path = exported(model, tmp_path)

    result = keras_rep.check(path, model, inputs_like(5, 5, 5, 2))
    assert result.max_rel_error["y"] < 2e-6


def test_open_sizes_stay_open(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, None, 3)), RepConv(4, strides=2, name="map")]
    )

    path = exported(model, tmp_path)

    for shape in [(9, 8, 3), (12, 5, 3)]:
        result = keras_rep.check(path, model, inputs_like(*shape))
        assert result.max_rel_error["map"] < 2e-6


@conversion
def test_an_input_may_be_an_output_twice(tmp_path):
    inputs = keras.Input((4,), name="x")
    y = layers.Dense(3, name="y")(inputs)
    model = keras.Model(inputs, {"a": y, "b": y, "c": inputs})

    path = exported(model, tmp_path)

    result = keras_rep.check(path, model, inputs_like(4))
    assert set(result.max_rel_error) == {"a", "b", "c"}
    assert max(result.max_rel_error.values()) < 2e-6


def test_whole_numbers_go_in(tmp_path):
    inputs = keras.Input((5,), dtype="int32", name="ids")
    model = keras.Model(inputs, layers.Embedding(2, 3, name="y")(inputs))

    path = exported(model, tmp_path)

    data = np.array([[0, 1, 1, 0, 1]], "int32")
    assert keras_rep.check(path, model, data).max_abs_error == {"y": 0.0}


# Bad input: a clear error, and nothing left behind.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 12}, "opset=12"),
        ({"opset": "18"}, "opset='18'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2.0}, "batch_size=2.0"),
    ],
)
def test_wrong_options_are_explained(options, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        keras_rep.export_onnx(model, tmp_path / "net.onnx", **options)

    assert not list(tmp_path.iterdir())


def test_a_layer_that_onnx_does_not_have(tmp_path):
    inputs = keras.Input((6, 4))
    model = keras.Model(inputs, layers.LSTM(3)(inputs))
    target = tmp_path / "net.onnx"
    target.write_text("old")

    with pytest.raises(keras_rep.DeployError, match="No Op registered"):
        keras_rep.export_onnx(model, target)

    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 40])
def test_a_broken_file(content, model, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)

    with pytest.raises(keras_rep.DeployError, match="ONNX Runtime cannot run"):
        keras_rep.check(path, model, samples(1))


@conversion
def test_samples_of_another_size(model, tmp_path):
    path = keras_rep.export_onnx(model, tmp_path / "net.onnx")

    with pytest.raises(keras_rep.DeployError, match="cannot run the file"):
        ONNXRunner(path)({"image": inputs_like(5, 5, 4)})
    with pytest.raises(ValueError, match=r"Expected: \['image'\]"):
        ONNXRunner(path)({"x": samples(1)})
