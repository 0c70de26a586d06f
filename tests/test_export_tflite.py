"""Files in TFLite format: what is in them, and what they compute."""

import keras
import numpy as np
import pytest
from arrays import array, randomize
from backends import conversion
from keras import layers

import keras_rep
from keras_rep import export
from keras_rep.export.tflite_converter import import_tensorflow
from keras_rep.layers import RepConv


def net(**dtype):
    """Strides, groups, depthwise, dilation, explicit padding, a dense head."""
    inputs = keras.Input((12, 12, 4), name="image")
    common = {"activation": "relu", **dtype}
    x = RepConv(8, strides=2, name="stem", **common)(inputs)
    x = RepConv(8, groups=2, name="grouped", **common)(x)
    x = RepConv(8, groups=8, name="depthwise", **common)(x)
    x = RepConv(8, dilation_rate=2, name="dilated", **common)(x)
    x = layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, name="score")(x), name="net")


def samples(count=40, shape=(12, 12, 4)):
    rng = np.random.default_rng(0)
    return rng.normal(0.2, 1.0, (count, *shape)).astype("float32")


@pytest.fixture(scope="module")
def model():
    model = net()
    randomize(model)
    return model


def test_float_files_compute_what_the_model_does(model, tmp_path):
    path = keras_rep.export_tflite(model, tmp_path / "net.tflite")

    result = keras_rep.check(path, model, samples())

    scale = np.abs(model.predict(samples(), verbose=0)).max()
    assert result.max_abs_error["score"] < 2e-6 * scale
    assert result.top1_agreement == {"score": 1.0}
    assert result.snr_db["score"] > 100
    # No PAD, ADD or MUL, and one convolution where there is dilation.
    assert result.runtime_ops == {
        "CONV_2D": 3,
        "DEPTHWISE_CONV_2D": 1,
        "MEAN": 1,
        "FULLY_CONNECTED": 1,
    }


def test_int8_files_are_integer_throughout(model, tmp_path):
    path = keras_rep.export_tflite(
        model,
        tmp_path / "net.tflite",
        quantization="int8",
        representative_data=samples(),
    )

    result = keras_rep.check(path, model, samples())

    assert "QUANTIZE" not in result.runtime_ops
    assert "DEQUANTIZE" not in result.runtime_ops
    assert sum(result.runtime_ops.values()) == 6
    # Eight bits give some 40 dB, less what six layers add in noise.
    assert 25 < result.snr_db["score"] < 60
    runner = keras_rep.runtime.TFLiteRunner(path).interpreter
    (inputs,), (outputs,) = (
        runner.get_input_details(),
        runner.get_output_details(),
    )
    assert inputs["dtype"] is outputs["dtype"] is np.int8
    assert list(inputs["shape"]) == [1, 12, 12, 4]


@conversion
@pytest.mark.parametrize("quantization", [None, "int8"])
def test_the_converter_gets_a_graph_without_weights(
    quantization, model, tmp_path, monkeypatch
):
    # It makes some thirty copies of what lies in the graph.
    tf = import_tensorflow()
    make, graphs = tf.lite.TFLiteConverter.from_concrete_functions, []

    def record(functions, *args):
        graphs.extend(function.graph.as_graph_def() for function in functions)
        return make(functions, *args)

    monkeypatch.setattr(
        tf.lite.TFLiteConverter, "from_concrete_functions", record
    )
    keras_rep.export_tflite(
        model,
        tmp_path / "net.tflite",
        quantization=quantization,
        representative_data=samples() if quantization else None,
    )

    (graph,) = graphs
    sizes = [
        tf.make_ndarray(node.attr["value"].tensor).size
        for node in graph.node
        if node.op == "Const"
    ]
    assert 0 < max(sizes) <= 8


def test_several_inputs_and_outputs_keep_their_names(tmp_path):
    left = keras.Input((8, 8, 2), name="left")
    right = keras.Input((8, 8, 3), name="right")
    total = RepConv(4, name="a")(left) + RepConv(4, name="b")(right)
    model = keras.Model(
        {"right": right, "left": left},
        {"sum": total, "mean": layers.GlobalAveragePooling2D()(total)},
    )
    randomize(model)
    data = {
        "left": samples(20, (8, 8, 2)),
        "right": samples(20, (8, 8, 3)) + 1,
    }

    for options in ({}, {"quantization": "int8", "representative_data": data}):
        path = keras_rep.export_tflite(
            model, tmp_path / "net.tflite", **options
        )
        result = keras_rep.check(path, model, data)

        assert set(result.snr_db) == {"sum", "mean"}
        assert min(result.snr_db.values()) > (25 if options else 100)


def test_subclassed_models(tmp_path):
    from test_deploy import Net

    model = Net()
    model(samples(1))
    randomize(model)

    path = keras_rep.export_tflite(model, tmp_path / "net.tflite")

    result = keras_rep.check(path, model, samples(4))
    assert result.snr_db["logits"] > 100


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_becomes_float32(policy, tmp_path):
    half, single = net(dtype=policy), net()
    randomize(half)
    randomize(single)

    path = keras_rep.export_tflite(half, tmp_path / "net.tflite")

    result = keras_rep.check(path, single, samples(4))
    assert result.snr_db["score"] > 100
    assert half.get_layer("stem").dtype_policy.name == policy


@conversion
def test_representative_data_may_come_in_batches(model, tmp_path):
    contents = []
    batches = (samples()[i : i + 7] for i in range(0, 40, 7))
    for data in (samples(), batches):
        path = keras_rep.export_tflite(
            model,
            tmp_path / "net.tflite",
            quantization="int8",
            representative_data=data,
        )
        contents.append(path.read_bytes())

    assert contents[0] == contents[1]


def test_plain_models_are_exported_too(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    )
    randomize(model)

    path = keras_rep.export_tflite(model, tmp_path / "net.tflite")

    result = keras_rep.check(path, model, samples(3, (8, 8, 3)))
    assert result.runtime_ops == {"CONV_2D": 1}


@conversion
@pytest.mark.parametrize("mode", [None, "int8"])
def test_batches_of_another_size(mode, model, tmp_path):
    path = exported(model, tmp_path, mode, batch_size=3)

    runner = keras_rep.runtime.TFLiteRunner(path)
    assert runner.batch_size == 3
    # Four samples: the second batch is filled up.
    result = keras_rep.check(path, model, samples(4))
    assert result.snr_db["score"] > (25 if mode else 100)
    assert "SPACE_TO_BATCH_ND" not in result.runtime_ops


@pytest.mark.parametrize("name", ["net.tflite", "net.onnx"])
def test_a_model_may_be_converted_as_it_is(name, model, tmp_path):
    export_it = getattr(keras_rep, f"export_{name.partition('.')[2]}")

    path = export_it(model, tmp_path / name, as_is=True)

    result = keras_rep.check(path, model, samples(4))
    assert result.snr_db["score"] > 100
    # The branches are all there.
    counts = result.runtime_ops
    assert counts.get("ADD", 0) + counts.get("Add", 0) >= 4


@conversion
def test_operations_of_tensorflow_if_asked_for(tmp_path):
    inputs = keras.Input((4, 4))
    model = keras.Model(inputs, keras.ops.inv(inputs))
    with pytest.raises(keras_rep.DeployError, match="Cannot convert"):
        exported(model, tmp_path, None)

    path = exported(model, tmp_path, None, select_ops=True)

    assert b"FlexMatrixInverse" in path.read_bytes()


# Bad input: a clear error, and nothing left behind.


@pytest.mark.parametrize(
    ("name", "module"),
    [("net.tflite", export.tflite), ("net.onnx", export.onnx)],
)
def test_a_file_that_differs_gets_no_name(
    name, module, model, tmp_path, monkeypatch
):
    def convert_another(plain, *args, **options):
        other = keras.models.clone_model(plain)
        other.set_weights([1.00003 * w for w in plain.get_weights()])
        return export.conversion.convert(other, *args, **options)

    monkeypatch.setattr(module, "convert", convert_another)
    function = getattr(module, f"export_{name.partition('.')[2]}")

    with pytest.raises(keras_rep.DeployError, match="'score', a relative err"):
        function(model, tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert function(model, tmp_path / name, verify=False).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantization": "int4"}, "quantization='int4'"),
        ({"quantization": "int8"}, "needs `representative_data`"),
        ({"representative_data": samples()}, "of no use here"),
        (
            {"quantization": "int8", "representative_data": samples()[..., :3]},
            r"shape \(40, 12, 12, 3\)",
        ),
        (
            {"quantization": "int8", "representative_data": samples()[0]},
            r"shape \(12, 12, 4\)",
        ),
        (
            {"quantization": "int8", "representative_data": samples()[:0]},
            "at least one sample",
        ),
        (
            {"quantization": "int8", "representative_data": iter([])},
            "no batch",
        ),
        (
            {"quantization": "int8", "representative_data": samples() * np.inf},
            "not finite",
        ),
        (
            {"quantization": "int8", "representative_data": {"x": samples()}},
            "Received: a dict",
        ),
        (
            {"quantization": "int8", "representative_data": "images/"},
            "not made of numbers",
        ),
    ],
)
def test_wrong_options_are_explained(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        keras_rep.export_tflite(model, tmp_path / "net.tflite", **options)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/net.tflite", "does not exist"),
        ("net.onnx", r"ends in '.tflite'"),
        ("folder.tflite", "the path of a folder"),
    ],
)
def test_wrong_paths_are_explained(model, tmp_path, name, message):
    (tmp_path / "folder.tflite").mkdir()

    with pytest.raises(ValueError, match=message):
        keras_rep.export_tflite(model, tmp_path / name)


def test_what_is_no_model_cannot_be_exported(tmp_path):
    with pytest.raises(ValueError, match=r"Expected a `keras.Model`"):
        keras_rep.export_tflite(RepConv(4), tmp_path / "net.tflite")


def test_open_sizes_cannot_be_exported(tmp_path):
    model = keras.Sequential([keras.Input((None, 8, 3)), RepConv(4)])
    randomize(model)

    with pytest.raises(keras_rep.DeployError, match="sizes but that of the ba"):
        keras_rep.export_tflite(model, tmp_path / "net.tflite")

    assert not list(tmp_path.iterdir())


@keras.saving.register_keras_serializable()
class Strange(layers.Layer):
    """A layer that TFLite has no operation for, and no child process knows."""

    def call(self, x):
        return keras.ops.fft2((x, x))[0]


def test_a_failing_converter_leaves_the_old_file(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), RepConv(4), Strange()])
    randomize(model)
    target = tmp_path / "net.tflite"
    target.write_text("old")

    with pytest.raises(keras_rep.DeployError, match="Cannot convert") as error:
        keras_rep.export_tflite(model, target)

    # The converter's own words, or those of the child process.
    assert "Strange" in str(error.value) or "FFT" in str(error.value)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["net.tflite"]


def test_the_model_is_left_as_it_was(model):
    assert isinstance(model.get_layer("stem"), RepConv)
    assert np.isfinite(array(model(samples(1)))).all()


def tensors(path):
    """Class and quantization of the kernels, and the types of all tensors."""
    from ai_edge_litert import schema_py_generated as schema

    file = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    (graph,) = file.subgraphs
    kernels = [
        graph.tensors[operator.inputs[1]]
        for operator in graph.operators
        if len(operator.inputs) == 3
    ]
    return kernels, {tensor.type for tensor in graph.tensors}


def exported(model, tmp_path, mode, **options):
    data = samples() if mode in ("int8", "int16x8") else None
    return keras_rep.export_tflite(
        model,
        tmp_path / "net.tflite",
        quantization=mode,
        representative_data=data,
        **options,
    )


# Half of the digits of half precision; 8 bits for weights; 8 and 16 for both.
@conversion
@pytest.mark.parametrize(
    ("mode", "least_snr"), [("float16", 50), ("dynamic", 25), ("int16x8", 35)]
)
def test_other_modes(mode, least_snr, model, tmp_path):
    path = exported(model, tmp_path, mode)

    result = keras_rep.check(path, model, samples())

    assert result.snr_db["score"] > least_snr
    operations = {"CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED"}
    # What reads half precision back is merged when the file is loaded.
    allowed = {"DEQUANTIZE"} if mode == "float16" else set()
    assert set(result.runtime_ops) == operations | allowed


@conversion
def test_half_precision_has_half_the_size(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 16)), layers.Conv2D(64, 3), layers.Conv2D(64, 3)]
    )
    randomize(model)
    model.add(layers.ReLU())

    sizes = {
        mode: exported(model, tmp_path, mode).stat().st_size
        for mode in (None, "float16", "dynamic")
    }

    assert sizes["float16"] < 0.55 * sizes[None]
    assert sizes["dynamic"] < 0.3 * sizes[None]


@conversion
@pytest.mark.parametrize("per_tensor", [False, True])
def test_scales_of_kernels(per_tensor, model, tmp_path):
    path = exported(model, tmp_path, "int8", per_tensor=per_tensor)

    kernels, _ = tensors(path)

    counts = [len(set(kernel.quantization.scale)) for kernel in kernels]
    assert len(counts) == 5
    assert all((count == 1) is per_tensor for count in counts)
    assert keras_rep.check(path, model, samples()).snr_db["score"] > 15


@conversion
@pytest.mark.parametrize(
    ("mode", "types", "extra"),
    [
        ("int8", ("int8", "int8"), 0),
        ("int8", ("uint8", "float32"), 2),
        ("int8", ("float32", "uint8"), 2),
        ("int16x8", ("int16", "int16"), 0),
        ("int16x8", ("float32", "float32"), 2),
    ],
)
def test_types_of_inputs_and_outputs(mode, types, extra, model, tmp_path):
    path = exported(
        model, tmp_path, mode, input_type=types[0], output_type=types[1]
    )

    result = keras_rep.check(path, model, samples())

    file = keras_rep.runtime.TFLiteRunner(path)
    runner = file.interpreter
    ends = (*runner.get_input_details(), *runner.get_output_details())
    scales = [file.parameters[name][0] for name in ("image", "score")]
    assert [scale > 0 for scale in scales] == [t != "float32" for t in types]
    assert tuple(np.dtype(end["dtype"]).name for end in ends) == types
    operations = result.runtime_ops
    conversions = ("QUANTIZE", "DEQUANTIZE")
    assert sum(operations.get(name, 0) for name in conversions) == extra
    assert result.snr_db["score"] > 25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantization": "int4"}, "Unknown quantization"),
        ({"quantization": "dynamic", "per_tensor": True}, "`per_tensor` is of"),
        ({"input_type": "int8"}, "Invalid value for `input_type`"),
        (
            {"quantization": "int16x8", "output_type": "int8"},
            "Invalid value for `output_type`",
        ),
        ({"quantization": "int16x8"}, "'int16x8'` needs `representative_data`"),
    ],
)
def test_wrong_options(options, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        keras_rep.export_tflite(model, tmp_path / "net.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_outputs_bear_the_names_of_the_models(tmp_path):
    """Also where a sequential model ends in what is fused."""
    model = keras.Sequential(
        [
            keras.Input((12, 12, 4), name="image"),
            layers.Conv2D(3, 3),
            layers.ReLU(name="map"),
        ]
    )
    randomize(model)

    path = exported(model, tmp_path, None)

    assert keras_rep.check(path, model, samples(4)).snr_db["map"] > 100
