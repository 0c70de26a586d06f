"""ShuffleNet: sizes, and both versions against PyTorch."""

import numpy as np
import pytest
from arrays import array, randomize, run
from backends import beside_torch
from model_cases import NETWORKS
from model_checks import deployed, full_size, kinds, trainable
from rewriting_helpers import inputs_like
from test_layers import assert_close

from keras_rep import models


# In torchvision; the paper gives 1.4, 2.3, 3.5 and 7.4 million.
@full_size
@pytest.mark.parametrize(
    ("variant", "count"),
    [
        ("0.5", 1_366_792),
        ("1.0", 2_278_604),
        ("1.5", 3_503_624),
        ("2.0", 7_393_996),
    ],
)
def test_numbers_of_parameters(variant, count):
    assert trainable(models.ShuffleNetV2(variant)) == count


# In millions, as its authors give them.
@full_size
@pytest.mark.parametrize(
    ("groups", "width", "millions"),
    [(3, 0.5, 0.7), (3, 1.0, 1.9), (3, 1.5, 3.4), (8, 0.5, 1.0), (8, 1, 2.4)],
)
def test_numbers_of_parameters_of_the_first_version(groups, width, millions):
    model = models.ShuffleNetV1(groups, width)

    assert round(trainable(model) / 1e6, 1) == millions


def test_it_deploys_to_cheap_layers():
    assert kinds(deployed(NETWORKS["shuffle_v2"]())) == {
        "InputLayer",
        "ZeroPadding2D",
        "Conv2D",
        "DepthwiseConv2D",
        "MaxPooling2D",
        "Concatenate",
        "Reshape",
        "Permute",
        "GlobalAveragePooling2D",
        "Dense",
    }


@pytest.mark.parametrize("make", [models.ShuffleNetV1, models.ShuffleNetV2])
def test_an_open_size_is_refused(make):
    with pytest.raises(ValueError, match="Pass the height and width"):
        make(input_shape=(None, 32, 3))


def test_unknown_numbers_of_groups_are_refused():
    with pytest.raises(ValueError, match=r"one of \(1, 2, 3, 4, 8\)"):
        models.ShuffleNetV1(5)


def shuffle(x, groups):
    count, channels, height, width = x.shape
    x = x.reshape(count, groups, channels // groups, height, width)
    return x.transpose(1, 2).reshape(count, channels, height, width)


def torch_shufflenet_v2(nn, cat):
    """Of two stages, with torchvision's names."""

    def conv(i, o, k=1, s=1, g=1, relu=True):
        parts = [
            nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False),
            nn.BatchNorm2d(o),
        ]
        return [*parts, nn.ReLU()] if relu else parts

    class Unit(nn.Module):
        def __init__(self, i, o, s):
            super().__init__()
            half, self.strides = o // 2, s
            self.branch1 = nn.Sequential()
            if s > 1:
                self.branch1 = nn.Sequential(
                    *conv(i, i, 3, s, i, relu=False), *conv(i, half)
                )
            self.branch2 = nn.Sequential(
                *conv(i if s > 1 else half, half),
                *conv(half, half, 3, s, half, relu=False),
                *conv(half, half),
            )

        def forward(self, x):
            left, right = (x, x) if self.strides > 1 else x.chunk(2, 1)
            return shuffle(cat([self.branch1(left), self.branch2(right)], 1), 2)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Sequential(*conv(3, 24, 3, 2))
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            self.stage2 = nn.Sequential(Unit(24, 16, 2), Unit(16, 16, 1))
            self.stage3 = nn.Sequential(Unit(16, 24, 2), Unit(24, 24, 1))
            self.conv5 = nn.Sequential(*conv(24, 32))
            self.fc = nn.Linear(32, 5)

        def forward(self, x):
            x = self.stage2(self.maxpool(self.conv1(x)))
            return self.fc(self.conv5(self.stage3(x)).mean((2, 3)))

    return Net().eval()


def randomized(torch, net):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.ndim == 1:
                tensor.uniform_(0.3, 1.5, generator=generator)
    return net


@beside_torch
@pytest.mark.parametrize("size", [(64, 64), (65, 47)])
def test_weights_of_torchvision(tmp_path, size):
    torch = pytest.importorskip("torch")
    net = randomized(torch, torch_shufflenet_v2(torch.nn, torch.cat))
    path = tmp_path / "weights.pth"
    torch.save(net.state_dict(), path)
    x = inputs_like(*size, 3)
    with torch.no_grad():
        expected = net(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()

    model = NETWORKS["shuffle_v2"](input_shape=(*size, 3), weights=str(path))

    assert_close(run(model, x), expected, 5e-6)


def torch_shufflenet_v1(torch, model, x):
    """The net `shuffle_v1`, out of its weights in their order."""
    functional = torch.nn.functional
    weights = iter([torch.tensor(array(v)) for v in model.variables])

    def conv(x, strides=1, groups=1):
        kernel = next(weights)
        if groups == x.shape[1]:
            kernel = kernel.permute(2, 3, 0, 1)
        else:
            kernel = kernel.permute(3, 2, 0, 1)
        x = functional.conv2d(
            x, kernel, None, strides, kernel.shape[-1] // 2, groups=groups
        )
        gamma, beta, mean, variance = (next(weights) for _ in range(4))
        return functional.batch_norm(x, mean, variance, gamma, beta)

    def unit(x, strides, groups, first_groups):
        y = functional.relu(conv(x, groups=first_groups))
        y = shuffle(y, groups)
        y = conv(conv(y, strides, y.shape[1]), groups=groups)
        if strides == 1:
            return functional.relu(x + y)
        pooled = functional.avg_pool2d(x, 3, strides, 1)
        return functional.relu(torch.cat([pooled, y], 1))

    x = functional.max_pool2d(functional.relu(conv(x, 2)), 3, 2, 1)
    x = unit(unit(x, 2, 4, 1), 1, 4, 4)
    x = unit(x, 2, 4, 4).mean((2, 3))
    return x @ next(weights) + next(weights)


@beside_torch
@pytest.mark.parametrize("size", [(64, 64), (65, 47)])
def test_the_first_version_against_pytorch(size):
    torch = pytest.importorskip("torch")
    model = NETWORKS["shuffle_v1"](input_shape=(*size, 3))
    randomize(model)
    x = inputs_like(*size, 3)
    with torch.no_grad():
        images = torch.tensor(x.transpose(0, 3, 1, 2))
        expected = torch_shufflenet_v1(torch, model, images).numpy()

    assert np.ptp(expected) > 0.1
    assert_close(run(model, x), expected, 5e-6)
