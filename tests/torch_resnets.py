"""Published ResNets in PyTorch, written from their definitions.

The names are those of the repositories, since they are what is tested.
"""

import math

import pytest

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class ConvBN(nn.Module):
    def __init__(self, inputs, outputs, size, stride=1, groups=1, relu=False):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs,
            outputs,
            size,
            stride,
            size // 2,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x):
        x = self.bn(self.conv(x))
        return F.relu(x) if self.relu else x


class ACB(nn.Module):
    def __init__(self, inputs, outputs, size, stride=1, groups=1, relu=False):
        super().__init__()
        half = size // 2
        shapes = {
            "square": ((size, size), (half, half)),
            "ver": ((size, 1), (half, 0)),
            "hor": ((1, size), (0, half)),
        }
        for name, (kernel, pad) in shapes.items():
            conv = nn.Conv2d(
                inputs, outputs, kernel, stride, pad, groups=groups, bias=False
            )
            setattr(self, f"{name}_conv", conv)
            setattr(self, f"{name}_bn", nn.BatchNorm2d(outputs))
        self.relu = relu

    def forward(self, x):
        x = (
            self.square_bn(self.square_conv(x))
            + self.ver_bn(self.ver_conv(x))
            + self.hor_bn(self.hor_conv(x))
        )
        return F.relu(x) if self.relu else x


class ACBReLU(nn.Module):
    """As ACNet's repository wraps it."""

    def __init__(self, *arguments):
        super().__init__()
        self.acb = ACB(*arguments)

    def forward(self, x):
        return F.relu(self.acb(x))


class NormAndPad(nn.Module):
    """Pads with what becomes of zero."""

    def __init__(self, channels, pad):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.pad = pad

    def forward(self, x):
        outside = self.bn(torch.zeros_like(x[:, :, :1, :1]))
        # Zeros stay what they are if `outside` is added afterwards.
        return F.pad(self.bn(x) - outside, [self.pad] * 4) + outside


class FromIdentity(nn.Conv2d):
    def forward(self, x):
        each = self.weight.shape[1]
        eye = torch.eye(each, dtype=x.dtype).repeat(self.groups, 1)
        kernel = self.weight + eye[:, :, None, None]
        return F.conv2d(x, kernel, groups=self.groups)


class DBB(nn.Module):
    def __init__(self, inputs, outputs, size, stride=1, groups=1, relu=False):
        super().__init__()

        def conv(channels, size, stride=1):
            return nn.Conv2d(
                channels, outputs, size, stride, groups=groups, bias=False
            )

        pad = size // 2
        self.dbb_origin = ConvBN(inputs, outputs, size, stride, groups)
        self.dbb_1x1 = ConvBN(inputs, outputs, 1, stride, groups)
        self.dbb_avg = nn.Sequential()
        self.dbb_avg.add_module("conv", conv(inputs, 1))
        self.dbb_avg.add_module("bn", NormAndPad(outputs, pad))
        self.dbb_avg.add_module("avg", nn.AvgPool2d(size, stride))
        self.dbb_avg.add_module("avgbn", nn.BatchNorm2d(outputs))
        self.dbb_1x1_kxk = nn.Sequential()
        first = FromIdentity(inputs, inputs, 1, groups=groups, bias=False)
        self.dbb_1x1_kxk.add_module("idconv1", first)
        self.dbb_1x1_kxk.add_module("bn1", NormAndPad(inputs, pad))
        self.dbb_1x1_kxk.add_module("conv2", conv(inputs, size, stride))
        self.dbb_1x1_kxk.add_module("bn2", nn.BatchNorm2d(outputs))
        self.relu = relu

    def forward(self, x):
        x = (
            self.dbb_origin(x)
            + self.dbb_1x1(x)
            + self.dbb_avg(x)
            + self.dbb_1x1_kxk(x)
        )
        return F.relu(x) if self.relu else x


class OREPA(nn.Module):
    """Six linear branches, run one after the other on the image."""

    def __init__(
        self, inputs, outputs, size=3, stride=1, groups=1, relu=False, norm=True
    ):
        super().__init__()
        each, self.groups, self.relu = inputs // groups, groups, relu
        count = 1 if groups <= 4 else 2
        shapes = {
            "origin": (outputs, each, size, size),
            "avg_conv": (outputs, each, 1, 1),
            "pfir_conv": (outputs, each, 1, 1),
            "1x1_kxk_idconv1": (count * inputs, each, 1, 1),
            "1x1_kxk_conv2": (outputs, count * each, size, size),
            "1x1": (outputs, each, 1, 1),
            "gconv_dw": (8 * inputs, 1, size, size),
            "gconv_pw": (outputs, 8 * each, 1, 1),
        }
        for name, shape in shapes.items():
            fan_in = math.prod(shape[1:])
            value = nn.Parameter(torch.randn(shape) / math.sqrt(fan_in))
            setattr(self, f"weight_orepa_{name}", value)
        self.vector = nn.Parameter(torch.randn(6, outputs))
        average = torch.full((size, size), 1 / size**2)
        self.register_buffer("weight_orepa_avg_avg", average)
        prior = torch.empty(outputs, size, size)
        for o in range(outputs):
            for h in range(size):
                for w in range(size):
                    at, f = (
                        (h, o + 1)
                        if o < outputs / 2
                        else (
                            w,
                            o + 1 - outputs / 2,
                        )
                    )
                    prior[o, h, w] = math.cos(math.pi * (at + 0.5) * f / size)
        self.register_buffer("weight_orepa_prior", prior)
        eye = torch.eye(each).repeat(count * groups, 1)[:, :, None, None]
        self.register_buffer("id_tensor", eye)
        self.stride, self.pad = stride, size // 2
        if norm:
            self.bn = nn.BatchNorm2d(outputs)

    def linear(self, x, stride, pad):
        def weight(name):
            return getattr(self, f"weight_orepa_{name}")

        def conv(x, kernel, groups=self.groups):
            stepped = kernel.shape[-1] > 1
            return F.conv2d(
                x,
                kernel,
                None,
                stride if stepped else 1,
                pad if stepped else 0,
                1,
                groups,
            )

        outputs = len(self.vector[0])
        point = conv(x, weight("1x1"))
        inner = self.pad - pad
        height, width = point.shape[2:]
        point = point[:, :, inner : height - inner, inner : width - inner]
        averages = self.weight_orepa_avg_avg.expand(outputs, 1, -1, -1)
        first = weight("1x1_kxk_idconv1") + self.id_tensor
        separable = conv(x, weight("gconv_dw"), x.shape[1])
        # The filters of the groups lie in turn.
        pointwise = weight("gconv_pw").reshape(
            -1, self.groups, *weight("gconv_pw").shape[1:]
        )
        pointwise = pointwise.transpose(0, 1).flatten(0, 1)
        branches = [
            conv(x, weight("origin")),
            conv(conv(x, weight("avg_conv")), averages, outputs),
            conv(
                conv(x, weight("pfir_conv")),
                self.weight_orepa_prior[:, None],
                outputs,
            ),
            conv(conv(x, first), weight("1x1_kxk_conv2")),
            point[:, :, ::stride, ::stride],
            conv(separable, pointwise),
        ]
        return sum(
            gain[:, None, None] * branch
            for gain, branch in zip(self.vector, branches, strict=True)
        )

    def forward(self, x):
        x = self.bn(self.linear(x, self.stride, self.pad))
        return F.relu(x) if self.relu else x


class OREPAPoint(nn.Module):
    def __init__(self, inputs, outputs, size=1, stride=1, groups=1, relu=False):
        super().__init__()
        self.weight_or1x1_origin = _random(outputs, inputs, 1, 1)
        middle = inputs if outputs > inputs else outputs
        self.weight_or1x1_l2i_conv1 = _random(middle, inputs, 1, 1)
        self.weight_or1x1_l2i_conv2 = _random(outputs, middle, 1, 1)
        self.vector = nn.Parameter(torch.randn(2, outputs))
        self.bn = nn.BatchNorm2d(outputs)
        self.stride, self.relu = stride, relu

    def forward(self, x):
        x = x[:, :, :: self.stride, :: self.stride]
        origin = F.conv2d(x, self.weight_or1x1_origin)
        middle = F.conv2d(x, self.weight_or1x1_l2i_conv1)
        both = F.conv2d(middle, self.weight_or1x1_l2i_conv2)
        first, second = self.vector[:, :, None, None]
        x = self.bn(first * origin + second * both)
        return F.relu(x) if self.relu else x


class OREPAStem(nn.Module):
    """7×7 of three 3×3, whose kernels are cross-correlated."""

    def __init__(self, inputs, outputs, size=7, stride=2, groups=1, relu=True):
        super().__init__()
        self.weight0 = OREPA(inputs, outputs, norm=False)
        self.weight1 = OREPA(outputs, outputs, norm=False)
        self.weight2 = OREPA(outputs, outputs, norm=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.stride = stride

    def forward(self, x):
        kernel = kernel_of(self.weight0).transpose(0, 1)
        for block in (self.weight1, self.weight2):
            kernel = F.conv2d(kernel, kernel_of(block), padding=2)
        kernel = kernel.transpose(0, 1)
        x = F.conv2d(x, kernel, stride=self.stride, padding=3)
        return F.relu(self.bn(x))


def kernel_of(block):
    """The kernel of a linear block, as what it makes of single pixels."""
    channels = block.weight_orepa_origin.shape[1]
    pulses = torch.zeros(channels, channels, 5, 5)
    pulses = pulses.to(block.vector.dtype)
    pulses[range(channels), range(channels), 2, 2] = 1
    response = block.linear(pulses, 1, 0)
    return response.transpose(0, 1).flip(2, 3)


def _random(*shape):
    return nn.Parameter(torch.randn(shape) / math.sqrt(shape[1]))


class Block(nn.Module):
    """A residual block, by the names of DBB's repository."""

    def __init__(self, inputs, filters, stride, hidden, groups, kinds):
        super().__init__()
        first, last, point, shortcut = kinds
        outputs = filters
        if hidden is None:
            self.conv1 = first(inputs, filters, 3, stride, 1, True)
            self.conv2 = last(filters, filters, 3)
        else:
            outputs = 4 * filters
            self.conv1 = point(inputs, hidden, 1, 1, 1, True)
            self.conv2 = first(hidden, hidden, 3, stride, groups, True)
            self.conv3 = point(hidden, outputs, 1)
        self.shortcut = None
        if stride > 1 or inputs != outputs:
            self.shortcut = shortcut(inputs, outputs, 1, stride)

    def forward(self, x):
        y = self.conv2(self.conv1(x))
        if hasattr(self, "conv3"):
            y = self.conv3(y)
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """Stages of blocks, by the names of DBB's repository."""

    def __init__(self, blocks, width, classes, kinds, groups=None, share=1):
        super().__init__()
        stem, *kinds = kinds
        self.put_stem(stem(3, width, 7, 2, 1, True))
        inputs = width
        for number, count in enumerate(blocks):
            filters = width * 2**number
            hidden = int(filters * share * groups) if groups else None
            stage = nn.Sequential()
            for index in range(count):
                stride = 2 if number and not index else 1
                stage.append(
                    Block(inputs, filters, stride, hidden, groups, kinds)
                )
                inputs = filters * (4 if groups else 1)
            setattr(self, f"stage{number + 1}", stage)
        self.linear = nn.Linear(inputs, classes)

    def put_stem(self, stem):
        self.stage0 = nn.Module()
        self.stage0.conv1 = stem

    def get_stem(self):
        return self.stage0.conv1

    def forward(self, x):
        x = F.max_pool2d(self.get_stem()(x), 3, 2, 1)
        for number in range(1, 5):
            x = getattr(self, f"stage{number}")(x)
        return self.linear(x.mean((2, 3)))


class ACNetResNet(ResNet):
    def put_stem(self, stem):
        self.conv1 = stem

    def get_stem(self):
        return self.conv1


def randomize(model):
    """Gives every tensor values that would show a mistake."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for value, low, high in (
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.5, 0.5),
                    (module.running_mean, -0.5, 0.5),
                    (module.running_var, 0.5, 2.0),
                ):
                    if value is not None:
                        value.uniform_(low, high, generator=generator)
    return model.eval()


def torchvision_names(state):
    """The tensors of a plain `ResNet` under the names of torchvision."""
    renamed = {}
    for name, value in state.items():
        *path, layer, part, leaf = ["", "", *name.split(".")]
        if layer == "shortcut":
            layer, part = "downsample", {"conv": "0", "bn": "1"}[part]
        elif layer.startswith("conv"):
            layer, part = "", layer.replace("conv", part)
        path = [each for each in (*path, layer, part) if each != "stage0"]
        new = ".".join([*filter(None, path), leaf])
        new = new.replace("stage", "layer").replace("linear", "fc")
        renamed[new] = value
    return renamed
