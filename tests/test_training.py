"""A training step of a block is that of its branches written in plain Keras."""

import keras
import numpy as np
import pytest
from arrays import array, randomize
from keras import layers

from keras_rep.layers import RepConv
from keras_rep.terms import Norm


def plain_block(x, filters, strides, groups):
    """RepConv(3×3) out of Keras layers, in the order of its weights."""
    norm = {"momentum": 0.9, "epsilon": 1e-5}
    conv = {"groups": groups, "use_bias": False}
    pixels = x
    if strides == 2:
        rows, columns = ((size + 1) % 2 for size in x.shape[1:3])
        pixels = x[:, rows::2, columns::2]
    branches = [
        layers.BatchNormalization(**norm)(
            layers.Conv2D(filters, 3, strides=strides, padding="same", **conv)(
                x
            )
        ),
        layers.BatchNormalization(**norm)(
            layers.Conv2D(filters, 1, **conv)(pixels)
        ),
    ]
    if strides == 1 and x.shape[-1] == filters:
        branches.append(layers.BatchNormalization(**norm)(x))
    return layers.Add()(branches)


def rep_block(x, filters, strides, groups):
    return RepConv(filters, strides=strides, groups=groups)(x)


def net(block, size, filters, strides, groups):
    inputs = keras.Input((*size, 4))
    x = layers.Conv2D(4, 1)(inputs)
    x = layers.ReLU()(block(x, filters, strides, groups))
    model = keras.Model(inputs, layers.Conv2D(2, 1)(x))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def trainable_first(model):
    """Weights in one order for both nets: by layer, then by role."""
    block = model.layers[2:-2]
    variables = [v for layer in block for v in layer.weights]
    return {
        name: [v for v in variables if v.name == name]
        for name in (
            "kernel",
            "gamma",
            "beta",
            "moving_mean",
            "moving_variance",
        )
    }


@pytest.mark.parametrize(
    ("size", "filters", "strides", "groups"),
    [
        ((6, 7), 4, 1, 1),
        ((6, 7), 8, 1, 2),
        ((6, 7), 8, 2, 1),
        ((5, 8), 4, 1, 4),
    ],
)
def test_one_step_equals_plain_layers(rng, size, filters, strides, groups):
    ours = net(rep_block, size, filters, strides, groups)
    plain = net(plain_block, size, filters, strides, groups)
    randomize(ours)
    for left, right in (
        (ours.layers[1], plain.layers[1]),
        (ours.layers[-1], plain.layers[-1]),
    ):
        right.set_weights(left.get_weights())
    pairs = [
        pair
        for name, variables in trainable_first(ours).items()
        for pair in zip(variables, trainable_first(plain)[name], strict=True)
    ]
    for left, right in pairs:
        right.assign(np.array(array(left)))
    # A mean far from zero, which covariances must not choke on.
    images = rng.normal(3.0, 1.0, size=(8, *size, 4)).astype("float32")
    targets = rng.normal(size=ours.compute_output_shape(images.shape))

    losses = [m.train_on_batch(images, targets) for m in (ours, plain)]

    # Float32 gradients through a normalization of some hundred values.
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for left, right in pairs:
        np.testing.assert_allclose(
            array(left), array(right), atol=2e-5, err_msg=left.path
        )


def test_a_frozen_layer_keeps_its_statistics(rng):
    layer = RepConv(4)
    images = rng.normal(size=(2, 6, 6, 4)).astype("float32")
    layer(images)
    randomize(layer)
    layer.trainable = False
    before = layer.get_weights()

    training, inference = (layer(images, training=t) for t in (True, False))

    # JAX merges the 1×1 branches in training.
    np.testing.assert_allclose(array(training), array(inference), atol=1e-5)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_layer_made_frozen_is_frozen_inside(rng):
    layer = RepConv(4, trainable=False)
    layer.build((None, 6, 6, 4))

    assert not layer.trainable_variables
    assert not any(
        inner.trainable
        for inner in layer.branches.branches()
        if isinstance(inner, Norm)
    )


def test_regularizers_and_constraints_reach_every_kernel(rng):
    layer = RepConv(4, kernel_regularizer="l2", kernel_constraint="non_neg")
    layer.build((None, 6, 6, 4))
    kernels = [v for v in layer.weights if v.name == "kernel"]

    expected = 0.01 * sum(np.square(array(k)).sum() for k in kernels)

    assert len(kernels) == 2
    assert all(kernel.constraint is not None for kernel in kernels)
    losses = [array(loss) for loss in layer.losses]
    np.testing.assert_allclose(sum(losses), expected, rtol=1e-5)


def test_branches_start_with_different_kernels():
    wide = RepConv(4, 3)
    wide.build((None, 6, 6, 4))

    centre = array(wide.branches.kxk.terms[0].kernel)[1, 1]
    point = array(wide.branches.point.terms[0].kernel)[0, 0]
    assert np.abs(centre - point).max() > 1e-3


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(rng, policy):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            RepConv(8, activation="relu", dtype=policy),
            RepConv(8, strides=2, dtype=policy),
            layers.GlobalAveragePooling2D(dtype="float32"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.05), "mse")
    images = rng.normal(size=(16, 8, 8, 3)).astype("float32")
    targets = rng.normal(size=(16, 8)).astype("float32")

    history = model.fit(images, targets, epochs=5, verbose=0).history

    assert {v.dtype for v in model.weights} == {"float32"}
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("size", [96, 224])
def test_strided_layers_train_at_large_sizes(rng, size):
    """TensorFlow 2.21's CPU build crashes on a strided 1×1 gradient here."""
    model = keras.Sequential(
        [
            keras.Input((size, size, 3)),
            RepConv(8, strides=2),
            RepConv(8, strides=2),
            RepConv(8, 1, strides=2),
            layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile("sgd", "mse")
    images = rng.normal(size=(4, size, size, 3)).astype("float32")

    loss = model.train_on_batch(images, np.zeros((4, 8)))

    assert np.isfinite(loss)
