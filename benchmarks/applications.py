"""Deploys every architecture of `keras.applications`.

Prints a table in Markdown: how exact, what is left, how fast, and why which
batch normalization stays. The weights are random, and so are the statistics.
Run by `make applications BACKEND=jax NAMES="ResNet50 MobileNetV2"`, or

    KERAS_BACKEND=jax python benchmarks/applications.py ResNet50 MobileNetV2
"""

import argparse
import collections
import gc
import os
import re

# PyTorch must be imported before TensorFlow, which Keras imports where it can.
try:
    import torch
except ImportError:
    torch = None

import keras
import numpy as np
from interleaved import measure, ratio
from keras import layers

import keras_rep
from keras_rep.report import PLAIN

ARCHITECTURES = [name for name in dir(keras.applications) if name[0].isupper()]
COLUMNS = (
    "net",
    "error",
    "batch normalizations",
    "layers",
    "parameters",
    "time",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    # Tells whether an error is one of rounding.
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    keras.config.set_dtype_policy(arguments.dtype)
    names = arguments.names or ARCHITECTURES
    unknown = sorted(set(names) - set(ARCHITECTURES))
    if unknown:
        parser.error(f"no architectures: {', '.join(unknown)}")
    size = arguments.size
    backend = keras.backend.backend()
    print(
        "# The nets of `keras.applications`, deployed\n\n"
        f"`make applications BACKEND={backend}` printed this: Keras "
        f"{keras.__version__}, images of {size}×{size}, {arguments.dtype}, a "
        f"CPU of {os.cpu_count()} cores. The weights are random, and so are "
        "the statistics. Each pair is the original net and the deployed one. "
        "Error is the largest difference relative to the largest output, time "
        "that of the deployed net for one image relative to the original.\n"
    )
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    stays = {}
    for name in names:
        try:
            model = make(name, size)
        except ValueError as error:
            # Keras has nets that it does not build on every backend.
            print(f"| {name} | {error} |" + " |" * (len(COLUMNS) - 2))
            continue
        row, reasons = examine(model, arguments.rounds)
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)
        if reasons:
            stays[name] = reasons
        # Nets of a gigabyte, one after the other.
        del model
        keras.backend.clear_session()
        gc.collect()
    for name, reasons in stays.items():
        print(f"\nBatch normalizations that stay in {name}:\n")
        for reason, count in reasons.most_common():
            print(f"- {count} × {reason}")


def examine(model, rounds):
    """The cells of one row, and how often each reason occurs."""
    plain = keras_rep.deploy(model, verify=False)
    images = make_images(model, 2)
    functions = {"original": forward(model), "deployed": forward(plain)}
    error = relative_error(*(run(images) for run in functions.values()))
    steps = {
        key: lambda run=run: run(images[:1]) for key, run in functions.items()
    }
    times = measure(steps, rounds, 1)
    pairs = [
        [f"{count(each):,}" for each in (model, plain)]
        for count in (
            lambda each: len(norms(each)),
            lambda each: len(list(all_layers(each))),
            lambda each: each.count_params(),
        )
    ]
    reasons = collections.Counter(
        re.sub(r"'[^']*'", "…", reason)
        for reason in norm_reasons(model, plain).values()
    )
    row = [
        f"{error:.0e}",
        *(" → ".join(pair) for pair in pairs),
        f"{ratio(times['deployed'], times['original']):.2f}",
    ]
    return row, reasons


def make(name, size=96):
    """A net without trained weights whose outputs depend on all of them."""
    model = getattr(keras.applications, name)(
        weights=None,
        input_shape=(size, size, 3),
        classifier_activation=None,
    )
    randomize(model)
    return model


def randomize(model, seed=0):
    """Draws all weights, such that activations neither grow nor vanish.

    Normalizations are far from their initial state, with gammas of both signs
    and means that leave some of the mean in: if they took away all of it, each
    layer would enlarge the rounding errors of those before.
    """
    rng = np.random.default_rng(seed)
    for layer in all_layers(model):
        for variable in layer.weights:
            value = _draw(variable, layer, rng).astype(variable.dtype)
            variable.assign(value)
    for norm, (mean, variance) in _statistics(model, seed).items():
        offset = 0.7 * np.sqrt(variance) * rng.normal(size=mean.shape)
        power = variance + np.square(mean - offset)
        norm.moving_mean.assign(offset)
        norm.moving_variance.assign(power * rng.uniform(0.6, 1.5, mean.shape))


def _draw(variable, layer, rng):
    shape = variable.shape
    if "kernel" in variable.name:
        is_depthwise = variable.name == "depthwise_kernel" or isinstance(
            layer, layers.DepthwiseConv2D
        )
        fan_in = np.prod(shape[:2] if is_depthwise else shape[:-1])
        return rng.normal(size=shape) / np.sqrt(fan_in)
    if variable.name == "gamma":
        signs = rng.choice([-1.0, 1.0], shape)
        return signs * rng.uniform(0.5, 1.5, shape)
    if "variance" in variable.name:
        return rng.uniform(0.5, 1.5, shape)
    return 0.3 * rng.normal(size=shape)


def _statistics(model, seed):
    """Mean and variance that each batch normalization sees in training."""
    found = norms(model)
    momenta = [norm.momentum for norm in found]
    for norm in found:
        # The moving statistics become those of the batch.
        norm.momentum = 0.0
    keras.utils.set_random_seed(seed)
    call = compiled(model, training=True)
    _, state = call(make_images(model, 4, seed + 1))
    for norm, momentum in zip(found, momenta, strict=True):
        norm.momentum = momentum
    positions = {
        id(variable): index
        for index, variable in enumerate(model.non_trainable_variables)
    }
    return {
        norm: [
            keras.ops.convert_to_numpy(state[positions[id(variable)]])
            for variable in (norm.moving_mean, norm.moving_variance)
        ]
        for norm in found
    }


def make_images(model, count, seed=0):
    """Images of random values, in the range that the net expects."""
    shape = (count, *model.input_shape[1:])
    values = np.random.default_rng(seed).normal(size=shape)
    scales_itself = any(
        isinstance(layer, layers.Rescaling | layers.Normalization)
        for layer in all_layers(model)
    )
    if scales_itself:
        values = 128 + 64 * values
    return values.astype(model.inputs[0].dtype)


def compiled(model, training=False):
    """A function of images that returns outputs and the new state."""
    state = [
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
        )
    ]

    def call(trainable, other, images):
        return model.stateless_call(trainable, other, images, training=training)

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        function = tf.function(call)
        return lambda images: function(*state, tf.constant(images))
    if backend == "jax":
        import jax

        function = jax.jit(call)
        return lambda images: function(*state, images)

    def without_gradient(images):
        with torch.no_grad():
            return call(*state, images)

    return without_gradient


def forward(model):
    """A function of images that returns the outputs as numpy."""
    call = compiled(model)
    return lambda images: keras.ops.convert_to_numpy(call(images)[0])


def relative_error(expected, received):
    """Largest difference relative to the largest output."""
    error = np.abs(expected.astype("float64") - received).max()
    return error / np.abs(expected).max()


def all_layers(model):
    """The layers of a model, and those of models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        elif not isinstance(layer, layers.InputLayer):
            yield layer


def norms(model):
    """The batch normalizations of a model."""
    return [
        layer
        for layer in all_layers(model)
        if isinstance(layer, layers.BatchNormalization)
    ]


def norm_reasons(model, plain):
    """Why which batch normalization is still in the deployed net.

    Returns:
        Dictionary from names to reasons, empty where `explain` gives none.
    """
    reasons = {
        path.rpartition("/")[2]: "; ".join(
            each for each in why if each != PLAIN
        )
        for path, why in keras_rep.explain(model).kept.items()
    }
    return {norm.name: reasons.get(norm.name, "") for norm in norms(plain)}


if __name__ == "__main__":
    main()
