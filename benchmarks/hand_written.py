"""The blocks as one writes them by hand: plain Keras layers and ops.

Each is a function of an image tensor, `filters` and `strides`, 3×3 throughout.
The borders of the DBB differ from ours: Keras' average pooling does not count
the padding, and the padding between its layers is zero.
"""

import numpy as np
from keras import layers, ops

CONV = {"padding": "same", "use_bias": False}


def norm(x):
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def conv_norm(x, filters, size, strides=1, **options):
    conv = layers.Conv2D(filters, size, strides=strides, **CONV, **options)
    return norm(conv(x))


def centre(x, strides):
    """The pixels under the centre tap of a 3×3 with "same" padding."""
    if strides == 1:
        return x
    rows, columns = ((size + 1) % 2 for size in x.shape[1:3])
    return x[:, rows::2, columns::2]


def keeps_shape(x, filters, strides):
    return strides == 1 and x.shape[-1] == filters


def plain(x, filters, strides=1):
    return layers.ReLU()(conv_norm(x, filters, 3, strides))


def rep(x, filters, strides=1):
    branches = [
        conv_norm(x, filters, 3, strides),
        conv_norm(centre(x, strides), filters, 1),
    ]
    if keeps_shape(x, filters, strides):
        branches.append(norm(x))
    return layers.ReLU()(layers.Add()(branches))


def acb(x, filters, strides=1):
    sizes = [(3, 3), (3, 1), (1, 3)]
    branches = [conv_norm(x, filters, size, strides) for size in sizes]
    return layers.ReLU()(layers.Add()(branches))


def dbb(x, filters, strides=1):
    average = layers.AveragePooling2D(3, strides, "same")
    inner = conv_norm(x, x.shape[-1], 1)
    branches = [
        conv_norm(x, filters, 3, strides),
        conv_norm(centre(x, strides), filters, 1),
        norm(average(conv_norm(x, filters, 1))),
        conv_norm(inner, filters, 3, strides),
    ]
    return layers.ReLU()(layers.Add()(branches))


def mobile_one(x, filters, strides=1):
    branches = [conv_norm(x, filters, 3, strides) for _ in range(4)]
    branches.append(conv_norm(centre(x, strides), filters, 1))
    if keeps_shape(x, filters, strides):
        branches.append(norm(x))
    return layers.ReLU()(layers.Add()(branches))


def qarep(x, filters, strides=1):
    branches = [
        conv_norm(x, filters, 3, strides),
        layers.Conv2D(filters, 1, **CONV)(centre(x, strides)),
    ]
    if keeps_shape(x, filters, strides):
        branches.append(x)
    return layers.ReLU()(norm(layers.Add()(branches)))


def dirac(x, filters, strides=1):
    return layers.ReLU()(norm(DiracKernel(filters, strides)(x)))


def orepa(x, filters, strides=1):
    return layers.ReLU()(norm(OnlineKernel(filters, strides)(x)))


def residual(x, filters, strides=1):
    """The basic block of ResNet, for `RMBlock`."""
    y = layers.ReLU()(conv_norm(x, filters, 3, strides))
    y = conv_norm(y, filters, 3)
    if not keeps_shape(x, filters, strides):
        x = conv_norm(centre(x, strides), filters, 1)
    return layers.ReLU()(layers.Add()([y, x]))


class DiracKernel(layers.Layer):
    def __init__(self, filters, strides):
        super().__init__()
        self.filters = filters
        self.strides = strides

    def build(self, input_shape):
        shape = (3, 3, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape)
        self.alpha = self.add_weight(shape=shape[-1:], initializer="ones")
        self.beta = self.add_weight(shape=shape[-1:], initializer="ones")
        delta = np.zeros(shape, "float32")
        delta[1, 1] = np.eye(*shape[2:])
        self.delta = ops.convert_to_tensor(delta)

    def call(self, inputs):
        kernel = ops.convert_to_tensor(self.kernel)
        norm = ops.sqrt(ops.sum(ops.square(kernel), axis=(0, 1, 2)) + 1e-24)
        kernel = self.alpha * self.delta + self.beta / norm * kernel
        return ops.conv(inputs, kernel, self.strides, "same")


class OnlineKernel(layers.Layer):
    """OREPA's kernel of six branches, as its formula reads."""

    def __init__(self, filters, strides):
        super().__init__()
        self.filters = filters
        self.strides = strides

    def build(self, input_shape):
        inputs, filters = input_shape[-1], self.filters
        self.origin = self.add_weight(shape=(3, 3, inputs, filters))
        self.average = self.add_weight(shape=(inputs, filters))
        self.frequency = self.add_weight(shape=(inputs, filters))
        self.first = self.add_weight(
            shape=(inputs, inputs), initializer="zeros"
        )
        self.second = self.add_weight(shape=(3, 3, inputs, filters))
        self.point = self.add_weight(shape=(inputs, filters))
        self.depthwise = self.add_weight(shape=(3, 3, inputs, 8))
        self.pointwise = self.add_weight(shape=(inputs, 8, filters))
        self.gains = [
            self.add_weight(shape=(filters,), initializer="ones")
            for _ in range(6)
        ]
        self.eye = ops.eye(inputs)
        prior = np.cos(np.arange(9 * filters).reshape(3, 3, filters))
        self.prior = ops.convert_to_tensor(prior.astype("float32"))

    def call(self, inputs):
        pad = [(1, 1), (1, 1), (0, 0), (0, 0)]
        first = ops.convert_to_tensor(self.first) + self.eye
        branches = [
            self.origin,
            ops.ones((3, 3, 1, 1)) / 9 * self.average,
            ops.expand_dims(self.frequency, (0, 1))
            * ops.expand_dims(self.prior, 2),
            ops.einsum("it,hwto->hwio", first, self.second),
            ops.pad(ops.expand_dims(self.point, (0, 1)), pad),
            ops.einsum("hwit,ito->hwio", self.depthwise, self.pointwise),
        ]
        kernel = sum(g * b for g, b in zip(self.gains, branches, strict=True))
        return ops.conv(inputs, kernel, self.strides, "same")


FORMS = {
    "RepConv": rep,
    "ACBConv": acb,
    "DBBConv": dbb,
    "MobileOneConv": mobile_one,
    "QARepConv": qarep,
    "DiracConv": dirac,
    "OREPAConv": orepa,
    "RMBlock": residual,
}
