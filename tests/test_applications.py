"""The architectures of `keras.applications`, with random weights."""

import importlib
import pathlib

import pytest
from test_layers import assert_close

import keras_rep

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
# How many batch normalizations must stay: in front of a ReLU, they act on
# what others read without them.
STAY = {
    "ConvNeXtTiny": 0,
    "DenseNet121": 62,
    "EfficientNetB0": 0,
    "EfficientNetV2B0": 0,
    "InceptionResNetV2": 0,
    "InceptionV3": 0,
    "MobileNet": 0,
    "MobileNetV2": 0,
    "MobileNetV3Small": 0,
    "NASNetMobile": 0,
    "ResNet50": 0,
    "ResNet50V2": 17,
    "VGG16": 0,
    "Xception": 0,
}
QUICK = ["MobileNet", "ResNet50V2"]
# Rounding of up to 200 layers comes to 2e-6. A factor of 1.01 on the first
# kernel would show as 1e-3 at least.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def applications():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return importlib.import_module("applications")


def check(applications, name):
    # The smallest that Inception and Xception take.
    size = 75 if "ception" in name else 64
    try:
        model = applications.make(name, size)
    except ValueError as error:
        pytest.skip(str(error))
    images = applications.make_images(model, 2)

    plain = keras_rep.deploy(model, verify=False)

    expected, received = (
        applications.forward(each)(images) for each in (model, plain)
    )
    assert_close(received, expected, TOLERANCE)
    assert len(applications.norms(plain)) == STAY[name]
    reasons = applications.norm_reasons(model, plain)
    assert all(reasons.values()), reasons


@pytest.mark.parametrize("name", QUICK)
def test_the_deployed_net_has_the_same_outputs(applications, name):
    check(applications, name)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(STAY.keys() - set(QUICK)))
def test_every_family(applications, name):
    check(applications, name)
