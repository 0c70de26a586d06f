"""RMNets, DiracNet and ACNet's VGG-16 in PyTorch, from their definitions.

The names are those of the repositories, since they are what is tested.
"""

from torch_resnets import ACBReLU, F, nn, torch


def conv(inputs, outputs, size, stride=1, groups=1):
    return nn.Conv2d(
        *(inputs, outputs, size, stride, size // 2), groups=groups, bias=False
    )


class RepBlock(nn.Module):
    """Two branches, an identity where it fits, and reserved channels."""

    def __init__(self, inputs, outputs, stride=1, reserved=0):
        super().__init__()
        computed = outputs - reserved
        self.reserved = reserved
        self.conv33 = conv(inputs, computed, 3, stride)
        self.bn33 = nn.BatchNorm2d(computed)
        self.conv11 = conv(inputs, computed, 1, stride)
        self.bn11 = nn.BatchNorm2d(computed)
        if inputs == outputs and stride == 1:
            self.bn00 = nn.BatchNorm2d(computed)

    def forward(self, x):
        y = self.bn33(self.conv33(x)) + self.bn11(self.conv11(x))
        if hasattr(self, "bn00"):
            y = y + self.bn00(x[:, self.reserved :])
        if self.reserved:
            y = torch.cat([x[:, : self.reserved], y], 1)
        return F.relu(y)


class RMRep(nn.Module):
    def __init__(self, pairs, ratio, width, classes):
        super().__init__()
        blocks = [RepBlock(3, width, 2), RepBlock(width, width, 2)]
        for stage in range(4):
            filters = width * 2**stage
            if stage:
                blocks.append(RepBlock(filters // 2, filters, 2))
            for _ in range(pairs):
                reserved = int(filters * ratio)
                blocks.append(RepBlock(filters, filters, reserved=reserved))
                blocks.append(RepBlock(filters, filters))
        self.feature = nn.Sequential(*blocks)
        self.fc = nn.Linear(filters, classes)

    def forward(self, x):
        return self.fc(self.feature(x).mean((2, 3)))


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride, hidden, groups):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, hidden, 1), nn.BatchNorm2d(hidden)
        self.conv2 = conv(hidden, hidden, 3, stride, groups)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.conv3 = conv(hidden, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential()
        if stride > 1 or inputs != outputs:
            shortcut = conv(inputs, outputs, 1, stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
        # What the published deployment needs.
        self.running1 = nn.BatchNorm2d(inputs, affine=False)
        self.running2 = nn.BatchNorm2d(outputs, affine=False)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class RMNeXt(nn.Module):
    def __init__(self, counts, expansion, groups, width, classes):
        super().__init__()
        self.layer0 = nn.Sequential(
            RepBlock(3, width, 2), RepBlock(width, width, 2)
        )
        inputs = width
        for stage, count in enumerate(counts):
            outputs, blocks = width * 2**stage, []
            for index in range(count):
                stride = 2 if stage and not index else 1
                hidden = (expansion - 1) * outputs
                blocks.append(
                    Bottleneck(inputs, outputs, stride, hidden, groups)
                )
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        for stage in range(5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


class PlainReLU(nn.Sequential):
    """As ACNet's repository makes a convolution without branches."""

    def __init__(self, inputs, outputs, size):
        super().__init__()
        self.add_module("conv", conv(inputs, outputs, size))
        self.add_module("bn", nn.BatchNorm2d(outputs))
        self.add_module("relu", nn.ReLU())


class VGG16(nn.Module):
    def __init__(self, block, width, classes):
        super().__init__()
        self.stem, inputs, number = nn.Sequential(), 3, 0
        shape = zip((2, 2, 3, 3, 3), (1, 2, 4, 8, 8), strict=True)
        for stage, (count, factor) in enumerate(shape, 1):
            for _ in range(count):
                number += 1
                made = block(inputs, factor * width, 3)
                self.stem.add_module(f"conv{number}", made)
                inputs = factor * width
            self.stem.add_module(f"maxpool{stage}", nn.MaxPool2d(2))
        self.linear1 = nn.Linear(inputs, inputs)
        self.linear2 = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.stem(x).mean((2, 3))
        return self.linear2(F.relu(self.linear1(x)))


class DiracNet:
    """A function of tensors by their names, as its repository has it."""

    def __init__(self, counts, width, classes):
        self.counts = counts
        self.tensors = {"conv": torch.randn(width, 3, 7, 7) / 12}
        self._norm("bn", width)
        inputs = width
        for group, count in enumerate(counts):
            outputs = width * 2**group
            for index in range(count):
                name = f"group{group}.block{index}"
                kernel = torch.randn(outputs, inputs, 3, 3)
                self.tensors[f"{name}.conv"] = kernel
                self.tensors[f"{name}.alpha"] = torch.rand(outputs) + 0.5
                self.tensors[f"{name}.beta"] = torch.randn(outputs)
                self._norm(f"{name}.bn", outputs)
                eye = "eye" + "_".join(map(str, kernel.shape))
                self.tensors[eye] = nn.init.dirac_(torch.empty(kernel.shape))
                inputs = outputs
        self.tensors["fc.weight"] = torch.randn(classes, inputs)
        self.tensors["fc.bias"] = torch.randn(classes)

    def _norm(self, name, channels):
        self.tensors |= {
            f"{name}.weight": torch.rand(channels) + 0.5,
            f"{name}.bias": torch.randn(channels) / 4,
            f"{name}.running_mean": torch.randn(channels) / 4,
            f"{name}.running_var": torch.rand(channels) + 0.5,
        }

    def state_dict(self):
        return dict(self.tensors)

    def double(self):
        self.tensors = {n: x.double() for n, x in self.tensors.items()}

    def __call__(self, x):
        tensors = self.tensors

        def norm(x, name):
            parts = ("running_mean", "running_var", "weight", "bias")
            return F.batch_norm(x, *(tensors[f"{name}.{p}"] for p in parts))

        x = norm(F.conv2d(x, tensors["conv"], None, 2, 3), "bn")
        x = F.max_pool2d(x, 3, 2, 1)
        for group, count in enumerate(self.counts):
            x = F.max_pool2d(x, 2) if group else x
            for index in range(count):
                name = f"group{group}.block{index}"
                kernel = tensors[f"{name}.conv"]
                length = kernel.flatten(1).norm(dim=1)
                gain = tensors[f"{name}.beta"] / length
                eye = tensors["eye" + "_".join(map(str, kernel.shape))]
                alpha = tensors[f"{name}.alpha"]
                kernel = (
                    gain[:, None, None, None] * kernel
                    + alpha[:, None, None, None] * eye
                )
                x = norm(F.conv2d(F.relu(x), kernel, None, 1, 1), f"{name}.bn")
        x = F.relu(x).mean((2, 3))
        return F.linear(x, tensors["fc.weight"], tensors["fc.bias"])


VGG_BLOCKS = {"plain": PlainReLU, "acb": ACBReLU}
