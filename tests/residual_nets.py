"""Residual nets of the classical kinds, in plain Keras."""

import keras
from keras import layers


def conv(x, filters, size=3, strides=1, activation=None, norm=True):
    x = layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=not norm
    )(x)
    x = layers.BatchNormalization()(x) if norm else x
    return activation()(x) if activation else x


def basic_block(x, filters, strides=1, activation=layers.ReLU):
    y = conv(x, filters, 3, strides, activation)
    y = conv(y, filters)
    if strides > 1 or x.shape[-1] != filters:
        x = conv(x, filters, 1, strides)
    y = layers.Add()([x, y])
    return activation()(y) if activation else y


def bottleneck(x, filters, strides=1):
    y = conv(x, filters // 2, 1, 1, layers.ReLU)
    y = conv(y, filters // 2, 3, strides, layers.ReLU)
    y = conv(y, filters, 1)
    if strides > 1 or x.shape[-1] != filters:
        x = conv(x, filters, 1, strides)
    return layers.ReLU()(layers.Add()([y, x]))


def pre_activation_block(x, filters, strides=1):
    y = layers.ReLU()(layers.BatchNormalization()(x))
    if strides > 1 or x.shape[-1] != filters:
        x = conv(y, filters, 1, strides, norm=False)
    y = conv(y, filters, 3, strides, layers.ReLU)
    return conv(y, filters, norm=False) + x


def inverted_residual(x, filters, strides=1, activation=None):
    activation = activation or (lambda: layers.ReLU(6.0))
    y = conv(x, 2 * x.shape[-1], 1, 1, activation)
    if strides > 1:
        y = layers.ZeroPadding2D(1)(y)
    y = layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding="valid" if strides > 1 else "same",
        use_bias=False,
    )(y)
    y = activation()(layers.BatchNormalization()(y))
    y = conv(y, filters, 1)
    is_residual = strides == 1 and x.shape[-1] == filters
    return layers.Add()([x, y]) if is_residual else y


def rep_vgg_block(x, filters, strides=1):
    branches = [conv(x, filters, size, strides) for size in (3, 1)]
    if strides == 1 and x.shape[-1] == filters:
        branches.append(layers.BatchNormalization()(x))
    return layers.ReLU()(layers.Add()(branches))


def net(block, shape=(17, 16, 3), filters=4, stem_activation=layers.ReLU):
    """Four blocks, two of them with the same width, one with a stride."""
    inputs = keras.Input(shape)
    x = conv(inputs, filters, 3, 1, stem_activation)
    x = block(x, filters)
    x = block(x, filters)
    x = block(x, 2 * filters, 2)
    x = block(x, 2 * filters)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3)(x))
