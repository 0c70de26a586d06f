"""torchvision's MobileNetV2 with its weights, on photos."""

import functools
import importlib
import importlib.util
import math
import pathlib

import numpy as np
import pytest
from arrays import run
from backends import conversion
from keras import layers
from test_layers import assert_close

import keras_rep
from keras_rep import rules

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
# Rounding of 53 layers with weights, which grows with its root; measured on
# the three backends: 7e-7.
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        example = importlib.import_module("imagenet")
    packages = [example.WEIGHTS, example.PHOTOS]
    packages += [("torch", "torch"), ("PIL", "pillow")]
    for package, project in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {project}; `make` installs it")
    return example


@pytest.fixture(scope="module")
def photos(example):
    return example.photos()


@pytest.fixture(scope="module")
def model(example):
    return example.mobilenet_v2()


@pytest.fixture(scope="module")
def expected(model, photos):
    return run(model, photos[0])


@pytest.fixture(scope="module")
def plain(model):
    return keras_rep.deploy(model, verify=False)


def kinds(model):
    return {type(layer) for layer in model.layers}


def test_it_recognizes_as_many_photos_as_torchvision_does(expected, photos):
    assert (expected.argmax(-1) == photos[1]).sum() == 18


def test_the_deployed_net_has_the_same_outputs(plain, expected, photos):
    received = run(plain, photos[0])

    assert_close(received, expected, TOLERANCE)
    np.testing.assert_array_equal(received.argmax(-1), expected.argmax(-1))


def test_only_convolutions_and_sums_stay(model, plain):
    assert kinds(plain) == {
        layers.InputLayer,
        layers.ZeroPadding2D,
        layers.Conv2D,
        layers.DepthwiseConv2D,
        layers.Add,
        layers.GlobalAveragePooling2D,
        layers.Dense,
    }
    # Each normalization leaves a bias in place of its four vectors.
    statistics = sum(
        layer.count_params()
        for layer in model.layers
        if isinstance(layer, layers.BatchNormalization)
    )
    assert plain.count_params() == model.count_params() - statistics * 3 // 4


def test_without_residuals_it_has_the_same_outputs(model, expected, photos):
    chain = keras_rep.deploy(
        model,
        rules=[
            *rules.DEFAULT_RULES,
            rules.remove_residuals,
            functools.partial(rules.merge_linear_chains, max_growth=math.inf),
        ],
        verify=False,
    )
    received = run(chain, photos[0])

    assert layers.Add not in kinds(chain)
    # The linear 1×1 convolutions between two blocks are one.
    assert sum(isinstance(x, layers.Conv2D) for x in chain.layers) == 18
    # Sums of up to 960 × 960 weights that were computed one after the other.
    assert_close(received, expected, 3 * TOLERANCE)
    np.testing.assert_array_equal(received.argmax(-1), expected.argmax(-1))


@conversion
@pytest.mark.exhaustive
@pytest.mark.parametrize(("per_tensor", "least"), [(False, 95), (True, 93)])
def test_int8_keeps_what_it_recognizes(
    example, model, photos, tmp_path, per_tensor, least
):
    """Calibrated on photos of streets, with nothing but the defaults."""
    package, project = example.MORE_PHOTOS
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {project}; `make` installs it")
    path = keras_rep.export_tflite(
        model,
        tmp_path / "net.tflite",
        quantization="int8",
        representative_data=example.more_photos("enhancement"),
        per_tensor=per_tensor,
    )

    report = keras_rep.quantize.compare(model, path, *photos)
    others = example.more_photos("classification")

    assert report.file_accuracy * 20 >= 17 - 1e-9
    result = keras_rep.check(path, model, others)
    assert result.top1_agreement["classifier"] * 100 >= least - 1e-9
