"""Mobile networks: sizes, weights of published ones, training, deploying."""

import importlib
import importlib.util
import pathlib

import numpy as np
import pytest
import timm_models
from arrays import array, run
from backends import beside_torch
from model_cases import NETWORKS
from model_checks import deployed, full_size, kinds, trainable
from rewriting_helpers import inputs_like
from test_layers import assert_close

from keras_rep import models
from keras_rep.layers import DBBConv, RMInvertedResidual

PUBLISHED = {
    "V1": (models.MobileNetV1, (), 4_231_976),
    "V2": (models.MobileNetV2, (), 3_504_872),
    "V3-large": (models.MobileNetV3, ("large",), 5_483_032),
    "V3-small": (models.MobileNetV3, ("small",), 2_542_856),
}


@full_size
@pytest.mark.parametrize("name", PUBLISHED)
def test_numbers_of_parameters(name):
    make, arguments, count = PUBLISHED[name]

    assert trainable(make(*arguments)) == count


@full_size
def test_rm_blocks_have_the_parameters_of_plain_ones():
    model = models.MobileNetV2(residual=RMInvertedResidual)

    assert trainable(model) == 3_504_872


@full_size
def test_dbb_mobilenet_has_the_branches_of_its_paper():
    """A pointwise one has none; a depthwise one has twice as many inside."""
    plain, model = models.MobileNetV1(), models.MobileNetV1(conv=DBBConv)
    widths = [32, 64, 128, 128, 256, 256, *6 * [512], 1024]
    # Average; 1×1, two filters a channel, and 3×3 of those.
    added = sum(2 * c + (2 * c + 4 * c + 18 * c + 2 * c) for c in widths)
    # 1×1; 1×1 and average; 1×1 and 3×3, of 3 channels and 32 filters.
    added += (96 + 64) + (96 + 64 + 64) + (9 + 6 + 27 * 32 + 64)

    assert trainable(model) - trainable(plain) == added


def test_rm_blocks_deploy_without_a_sum():
    assert "Add" in kinds(deployed(NETWORKS["v2"]()))
    assert "Add" not in kinds(deployed(NETWORKS["v2_rm"]()))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("v1", (None, 10, 8, 8)),
        ("v2", (None, 10, 8, 1280)),
        ("v3", (None, 5, 4, 48)),
    ],
)
def test_a_backbone_ends_in_the_last_feature_map(name, shape):
    assert NETWORKS[name](include_top=False).output_shape == shape


@pytest.mark.parametrize(
    ("name", "functions"),
    [
        ("v3", {"hard_silu", "hard_sigmoid", "relu", "linear"}),
        ("v3_relu6", {"relu6", "hard_sigmoid", "relu", "linear"}),
    ],
)
def test_activations_become_part_of_convolutions(name, functions):
    plain = deployed(NETWORKS[name]())

    assert "Activation" not in kinds(plain)
    assert functions == {
        layer.activation.__name__
        for layer in plain.layers
        if hasattr(layer, "activation")
    }


def test_one_pixel_is_not_averaged_again():
    """Behind the head of MobileNetV3 there is nothing left to pool."""
    pools = [
        layer.name
        for layer in deployed(NETWORKS["v3"]()).layers
        if type(layer).__name__ == "GlobalAveragePooling2D"
    ]

    assert pools == ["stage1_0_gate_mean", "mean"]


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(pathlib.Path(__file__).parents[1] / "examples")
        example = importlib.import_module("imagenet")
    for package in (example.WEIGHTS[0], "torch"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}; `make` installs it")
    return example


@pytest.fixture(scope="module")
def checkpoint(example):
    return example.weights_file()


@full_size
def test_weights_of_torchvision_without_residuals(checkpoint):
    """`test_mobilenet_v2.py` shows that they are right with residuals."""
    options = {
        "input_shape": (96, 96, 3),
        "classifier_activation": None,
        "weights": checkpoint,
    }
    expected = models.MobileNetV2(**options)
    model = models.MobileNetV2(residual=RMInvertedResidual, **options)
    x = inputs_like(96, 96, 3)

    # Sums of two kinds of layers, in another order.
    assert_close(run(model, x), run(expected, x), 1e-5)


@full_size
def test_a_file_that_does_not_fit_changes_nothing(
    example, checkpoint, tmp_path
):
    tensors = models.checkpoint.read_checkpoint(checkpoint)
    tensors["features.3.conv.2.weights"] = tensors.pop(
        "features.3.conv.2.weight"
    )
    path = tmp_path / "broken.npz"
    np.savez(path, **tensors)
    model = models.MobileNetV2()
    before = [np.array(array(v)) for v in model.variables]

    with pytest.raises(ValueError, match=r"1 missing: features\.3\.conv\.2\.w"):
        models.load_torch_checkpoint(model, path)
    with pytest.raises(
        ValueError, match=r"2 of another shape: classifier\.1\.w"
    ):
        models.load_torch_checkpoint(models.MobileNetV2(classes=5), checkpoint)

    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(array(variable), old)


def torchvision_names(tensors):
    """Gives tensors of timm's MobileNetV3 the names that torchvision has.

    It counts blocks through, and the layers of a block.
    """
    renamed, place, number, layer, inside = {}, "", 0, -1, ""
    for name, value in tensors.items():
        module, _, leaf = name.rpartition(".")
        block, _, part = module.rpartition(".")
        block = block.removesuffix(".se")
        if module in ("conv_head", "classifier"):
            index = 0 if module == "conv_head" else 3
            value = value.reshape(value.shape[:2])
            renamed[f"classifier.{index}.{leaf}"] = value
            continue
        if block != place:
            place, number, layer = block, number + 1, -1
        if part.startswith("conv") and part != "conv_expand":
            layer += leaf == "weight"
            is_alone = part in ("conv_stem", "conv")
            inside = "" if is_alone else f"block.{layer}."
        last = {"conv_reduce": "fc1", "conv_expand": "fc2"}.get(
            part, "1" if part.startswith("bn") else "0"
        )
        renamed[f"features.{number}.{inside}{last}.{leaf}"] = value
    return renamed


TIMM = {
    "mobilenetv1_100": (models.MobileNetV1, {"activation": "relu6"}),
    "mobilenetv2_100": (models.MobileNetV2, {}),
    "mobilenetv3_large_100": (models.MobileNetV3, {"epsilon": 1e-5}),
    "mobilenetv3_small_100": (
        models.MobileNetV3,
        {"variant": "small", "epsilon": 1e-5},
    ),
}


@beside_torch
@pytest.mark.parametrize(
    ("name", "rename"),
    [
        *((name, dict) for name in TIMM),
        ("mobilenetv3_large_100", torchvision_names),
        ("mobilenetv3_small_100", torchvision_names),
    ],
)
def test_weights_of_timm(name, rename, tmp_path):
    torch = pytest.importorskip("torch")

    reference = timm_models.create(name)
    tensors = {k: v.numpy() for k, v in reference.state_dict().items()}
    path = tmp_path / "weights.npz"
    np.savez(path, **rename(tensors))
    make, options = TIMM[name]
    x = inputs_like(65, 96, 3)
    with torch.no_grad():
        expected = reference(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()

    model = make(
        input_shape=(65, 96, 3),
        classifier_activation=None,
        weights=str(path),
        **options,
    )

    # Two libraries' kernels; 50 layers whose gains are random.
    assert_close(run(model, x), expected, 1e-5)
