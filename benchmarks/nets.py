"""The nets that the benchmarks train and deploy."""

import keras
from keras import layers

from keras_rep.layers import RepConv


def rep_block(x, filters, strides=1):
    return RepConv(filters, strides=strides, activation="relu")(x)


def classifier(block, blocks, size, classes=10):
    """A net of blocks, global pooling and a dense layer, compiled with SGD.

    Args:
        block: Function of an image tensor, `filters` and `strides`.
        blocks: List of `(filters, strides)`.
        size: Height and width of the images.
        classes: Number of outputs.
    """
    inputs = x = keras.Input((size, size, 3))
    for filters, strides in blocks:
        x = block(x, filters, strides)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(classes)(x))
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


SMALL = [
    (32, 1),
    (32, 1),
    (32, 1),
    (64, 2),
    (64, 1),
    (64, 1),
    (128, 2),
    (128, 1),
    (128, 1),
]


def _stage(filters, count):
    return [(filters, 2)] + [(filters, 1)] * (count - 1)


# Layout of ResNet-18 without its stem: eight pairs of 3×3 blocks.
RESNET18 = [
    (64, 2),
    *[(64, 1)] * 3,
    *_stage(128, 4),
    *_stage(256, 4),
    *_stage(512, 4),
]
REPVGG_A0 = [
    (48, 2),
    *_stage(48, 2),
    *_stage(96, 4),
    *_stage(192, 14),
    *_stage(1280, 1),
]
REPVGG_B3 = [
    (64, 2),
    *_stage(192, 4),
    *_stage(384, 6),
    *_stage(768, 16),
    *_stage(2560, 1),
]
