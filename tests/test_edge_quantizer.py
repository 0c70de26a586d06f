"""A second implementation, ai-edge-quantizer, makes the same int8 files."""

import importlib
import importlib.util
import pathlib

import keras
import numpy as np
import pytest
from arrays import randomize
from backends import conversion
from keras import layers

import keras_rep
from keras_rep import quantize
from keras_rep.layers import RepConv
from keras_rep.program import Program
from keras_rep.quantize.file_checks import file_tensors
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.sites import find_sites
from keras_rep.runtime import TFLiteRunner

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
pytestmark = [
    conversion,
    pytest.mark.skipif(
        importlib.util.find_spec("ai_edge_quantizer") is None,
        reason="ai-edge-quantizer is not installed; `make` installs it",
    ),
]
# Both compute scales in other orders, and keep them in float32.
SCALE_TOLERANCE = 5e-7


@pytest.fixture(scope="module")
def second():
    """The module `edge_quantizer` of the benchmarks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return importlib.import_module("edge_quantizer")


def net():
    """A stride, depthwise, Add, pooling, a gate, a dense head."""
    image = keras.Input((16, 16, 3), name="image")
    x = RepConv(8, strides=2, activation="relu", name="stem")(image)
    y = RepConv(8, groups=8, activation="relu6", name="depthwise")(x)
    y = layers.Conv2D(8, 1, name="project")(y)
    x = layers.Add(name="sum")([x, y])
    x = layers.MaxPooling2D(name="largest")(x)
    y = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    y = layers.Conv2D(8, 1, activation="sigmoid", name="gate")(y)
    x = layers.Multiply(name="scale")([x, y])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(5, name="score")(x), name="net")
    randomize(model)
    return model


def samples(seed, count):
    rng = np.random.default_rng(seed)
    return rng.normal(0.2, 1.0, (count, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="module")
def files(second, tmp_path_factory):
    """The model, the float file, ours, and that of ai-edge-quantizer."""
    folder = tmp_path_factory.mktemp("edge")
    model = net()
    ranges = quantize.calibrate(model, samples(0, 40))
    # Zero is in the middle between two integers: a tie to be rounded.
    ranges["image"] = [-3.0, 3.0]
    path = keras_rep.export_tflite(model, folder / "float.tflite")
    ours = keras_rep.export_tflite(
        model, folder / "int8.tflite", quantization="int8", ranges=ranges
    )
    theirs = second.quantize_with_ranges(path, model, ranges)
    return model, path, TFLiteRunner(ours), TFLiteRunner(theirs)


def test_every_tensor_of_a_float_file_belongs_to_a_site(files, second):
    model, path, *_ = files

    names = second.tensor_names(path, model)

    expected = find_sites(Program(prepare(model)))
    assert set(names.values()) == set(expected)
    for name, site in names.items():
        # The converter writes the layer's name in front, but at the ends, and
        # the largest of a pool has the range of the sum.
        layer = {"largest": "sum"}.get(name.partition("_1/")[0], site)
        assert layer == site


def test_the_same_scales_and_zero_points(files, second):
    model, path, ours, theirs = files
    program = Program(prepare(model))
    site_of = {
        tensor: site.name
        for site in find_sites(program).values()
        for tensor in site.tensors
    }
    expected = {
        site_of[tensor]: ours.tensor_parameters[name]
        for tensor, name in file_tensors(ours, program).items()
        if tensor in site_of
    }
    expected["image"] = (np.dtype("int8"), *ours.parameters["image"])
    names = second.tensor_names(path, model)
    received = {
        names[name]: parameters
        for name, parameters in theirs.tensor_parameters.items()
    }
    received["image"] = (np.dtype("int8"), *theirs.parameters["image"])

    assert set(received) == set(expected)
    for name, (dtype, step, zero_point) in received.items():
        assert dtype == expected[name][0], name
        assert zero_point == expected[name][2], name
        np.testing.assert_allclose(
            step, expected[name][1], rtol=SCALE_TOLERANCE, err_msg=name
        )


def test_the_same_scales_of_kernels(files):
    _, _, ours, theirs = files

    # Ours have the scope of the call in front.
    received = {
        name.partition("/")[2]: scales
        for name, scales in ours.kernel_scales.items()
    }

    assert set(received) == set(theirs.kernel_scales)
    assert {len(scales) for scales in received.values()} == {8, 5}
    for name, scales in theirs.kernel_scales.items():
        np.testing.assert_allclose(
            received[name], scales, rtol=SCALE_TOLERANCE, err_msg=name
        )


def test_the_same_outputs(files):
    _, _, ours, theirs = files
    data = {"image": samples(1, 40)}

    step, _ = ours.parameters["score"]
    expected, received = ours(data)["score"], theirs(data)["score"]

    assert len(np.unique(np.round(expected / step))) > 40
    # Biases, in steps of the images and kernels, may be rounded apart.
    np.testing.assert_allclose(received, expected, rtol=0, atol=1.01 * step)
    assert np.mean(np.abs(received - expected) > step / 2) < 0.05


def test_kernels_of_zeros_keep_their_biases(tmp_path):
    """The step of such a kernel must not overflow a bias of 32 bits.

    ai-edge-quantizer 0.10 lets it: the bias becomes the smallest integer.
    """
    image = keras.Input((8, 8, 4), name="image")
    layer = layers.DepthwiseConv2D(3, activation="relu6", name="depthwise")
    model = keras.Model(image, layer(image))
    randomize(model)
    kernel, bias = layer.get_weights()
    kernel[:, :, 1] = 0.0
    bias[1] = 3.0
    layer.set_weights([kernel, bias])
    data = samples(0, 40)[:, :8, :8, :1] * [[[[1.0, 2.0, 3.0, 4.0]]]]
    ranges = quantize.calibrate(model, data)
    path = keras_rep.export_tflite(
        model, tmp_path / "int8.tflite", quantization="int8", ranges=ranges
    )

    runner = TFLiteRunner(path)
    step, _ = runner.parameters["depthwise"]
    received = runner({"image": data})["depthwise"]

    np.testing.assert_allclose(received[..., 1], 3.0, atol=step / 2)
