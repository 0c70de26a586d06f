"""Small nets whose int8 files have every operation that counts."""

import keras
import numpy as np
from arrays import randomize
from keras import layers

from keras_rep.layers import RepConv

SIZE = (16, 16, 3)


def images(count=40, seed=0, size=SIZE):
    rng = np.random.default_rng(seed)
    return rng.normal(0.2, 1.0, (count, *size)).astype("float32")


def _ready(inputs, outputs):
    model = keras.Model(inputs, outputs, name="net")
    randomize(model)
    return model


def mobile(gate="sigmoid", activation="hard_silu"):
    """Stride, depthwise, Add, SE, both poolings, Concat, groups, two ends."""
    inputs = keras.Input(SIZE, name="image")
    x = RepConv(8, strides=2, activation="relu", name="stem")(inputs)
    y = layers.DepthwiseConv2D(
        3, padding="same", activation="relu6", name="depthwise"
    )(x)
    y = layers.Conv2D(8, 1, use_bias=False, name="project")(y)
    x = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([x, y]))
    g = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    g = layers.Conv2D(4, 1, activation="relu", name="reduce")(g)
    g = layers.Conv2D(8, 1, activation=gate, name="expand")(g)
    x = layers.Multiply(name="scale")([x, g])
    x = layers.Concatenate(name="join")(
        [
            layers.MaxPooling2D(2, name="largest")(x),
            layers.AveragePooling2D(2, name="mean")(x),
        ]
    )
    x = layers.Conv2D(8, 3, groups=2, activation=activation, name="grouped")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    score = layers.Dense(5, name="score")(x)
    chance = layers.Dense(3, activation="softmax", name="chance")(x)
    return _ready(inputs, [score, chance])


def two_inputs():
    """Two images, a shared convolution, padding, upsampling, subtraction."""
    one, other = (keras.Input((8, 8, 4), name=n) for n in ("one", "other"))
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    x, y = shared(one), layers.ReLU(name="rectified")(shared(other))
    x = layers.Subtract(name="difference")([x, y])
    x = layers.ZeroPadding2D(1, name="pad")(x)
    x = layers.Conv2D(4, 3, strides=2, activation="relu6", name="down")(x)
    x = layers.UpSampling2D(2, name="up")(x)
    x = layers.Conv2DTranspose(2, 2, strides=2, name="larger")(x)
    return _ready([one, other], x)


def nested():
    """A model in a model, called twice, and a normalization that stays."""
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
        ],
        name="inner",
    )
    inputs = keras.Input((8, 8, 4), name="image")
    x = layers.Add(name="sum")([inner(inner(inputs)), inputs])
    # One convolution with its own input, once the model around it is open.
    linear = keras.Sequential(
        [keras.Input((8, 8, 4)), layers.Conv2D(4, 1, name="conv")],
        name="linear",
    )
    x = layers.Add(name="merged")([linear(x), x])
    x = layers.BatchNormalization(name="late")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.SeparableConv2D(4, 3, activation="silu", name="separable")(x)
    return _ready(inputs, layers.Flatten(name="flat")(x))


def chain(activation="relu6"):
    """Convolutions in a row, with channels of very different sizes."""
    inputs = keras.Input(SIZE, name="image")
    x = layers.Conv2D(
        8, 3, padding="same", activation=activation, name="first"
    )(inputs)
    x = layers.DepthwiseConv2D(
        3, padding="same", activation=activation, name="second"
    )(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Conv2D(6, 1, activation=activation, name="third")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = _ready(inputs, layers.Dense(4, name="score")(x))
    factor = np.logspace(-2, 1, 8)
    first, second = model.get_layer("first"), model.get_layer("second")
    kernel, bias = first.get_weights()
    first.set_weights([kernel * factor, bias * factor])
    kernel, bias = second.get_weights()
    second.set_weights([kernel / factor[:, None], bias])
    return model


NETS = {"mobile": mobile, "two_inputs": two_inputs, "nested": nested}


def data_for(model, count=40, seed=0):
    """Images for each input of a net, in its structure."""
    arrays = [
        images(count, seed + index, tensor.shape[1:])
        for index, tensor in enumerate(model.inputs)
    ]
    return arrays if len(arrays) > 1 else arrays[0]
