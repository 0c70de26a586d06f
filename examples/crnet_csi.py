"""CRNet on simulated channels: what blocks of several branches bring.

KERAS_BACKEND=jax python examples/crnet_csi.py --channels 16

A base station with many antennas needs the channel that a phone sees. Between
delays and angles that matrix is sparse, so that an autoencoder can compress
it: the phone sends the code. The blocks cost time in training only.
"""

import argparse
import time

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_rep
from keras_rep.layers import DBBConv
from keras_rep.models.crnet import CRNet, PointedConv

VARIANTS = {
    "CRNet": {},
    "k×k → DBB": {"conv": DBBConv},
    "k×k → DBB, k×1 → k×1 + 1×1": {"conv": DBBConv, "strip": PointedConv},
}


def simulate(count, size, paths=6):
    """Channels of a few paths from one sector, between delays and angles.

    Returns:
        Array `(count, size, size, 2)`: delays, angles, and the real and the
        imaginary part, as values from 0 to 1; 0.5 is zero.
    """
    rng = np.random.default_rng(0)
    delays = rng.exponential(size / 8, (count, paths))
    centers = size * rng.uniform(3 / 8, 5 / 8, (count, 1))
    angles = centers + rng.normal(0, size / 16, (count, paths))
    gains = rng.normal(size=(count, paths, 2)) @ (1, 1j)
    gains = gains * np.exp(-delays / (size / 4))
    # A path between two bins leaks into all of them.
    responses = [_response(places, size) for places in (delays, angles)]
    matrices = np.einsum("np,npd,npa->nda", gains, *responses)
    values = np.stack([matrices.real, matrices.imag], -1)
    # Gain control, which clips the peaks. Scaled to those instead, a matrix is
    # nearly all 0.5, which a sigmoid learns first, and then hardly more.
    values /= 3 * np.sqrt((values**2).mean((1, 2, 3), keepdims=True))
    return (0.5 + np.clip(values, -1, 1) / 2).astype("float32")


def _response(places, size):
    """The transform of a wave: a peak at its place."""
    steps = np.arange(size) - (size - 1) / 2
    phases = places[..., None, None] - np.arange(size)[:, None]
    return np.exp(2j * np.pi * phases * steps / size).mean(-1)


def nmse(expected, received):
    """Mean of error by signal, in decibels; -10 leaves a tenth."""
    received = keras.ops.convert_to_numpy(received)
    error = np.sum((received - expected) ** 2, (1, 2, 3))
    signal = np.sum((expected - 0.5) ** 2, (1, 2, 3))
    return 10 * np.log10(np.mean(error / signal))


def train(models, x, steps, batch):
    """Trains models in turns; returns the median seconds of their steps."""
    for model in models:
        rate = keras.optimizers.schedules.CosineDecay(5e-3, steps)
        model.compile(keras.optimizers.Adam(rate), "mse")
    rng = np.random.default_rng(1)
    times = np.empty((steps, len(models)))
    for step in range(steps):
        matrices = x[rng.choice(len(x), batch)]
        for index, model in enumerate(models):
            start = time.perf_counter()
            float(model.train_on_batch(matrices, matrices))
            times[step, index] = time.perf_counter() - start
    return np.median(times, axis=0)


def main(channels, compression, size, samples, steps, batch):
    matrices = simulate(samples, size)
    x_test, x_train = np.split(matrices, [len(matrices) // 10])
    options = {"channels": channels, "input_shape": x_test[0].shape}
    models = {}
    for name, blocks in VARIANTS.items():
        keras.utils.set_random_seed(0)
        models[name] = CRNet(compression, **options, **blocks)
    seconds = train(list(models.values()), x_train, steps, batch)
    columns = "net", "parameters", "multiply-adds", "step", "NMSE"
    table = Table(*columns, title=f"Training form → deployed, {steps} steps")
    pairs = zip(models.items(), seconds, strict=True)
    for (name, model), time_of_step in pairs:
        report = keras_rep.explain(model)
        forms = model, keras_rep.deploy(model)
        # Not by `predict`: TensorFlow, compiling, takes 0.2 for the slope of a
        # LeakyReLU behind the sum of a convolution and something else.
        errors = [nmse(x_test, m(x_test, training=False)) for m in forms]
        table.add_row(
            name,
            "{:,} → {:,}".format(*report.parameters),
            "{:,} → {:,}".format(*report.multiply_adds),
            f"{1000 * time_of_step:.0f} ms",
            "{:.2f} → {:.2f} dB".format(*errors),
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--compression", type=int, default=4)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--samples", type=int, default=20000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    main(**vars(parser.parse_args()))
