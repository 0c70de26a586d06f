"""The blocks side by side: accuracy, step time and memory on Fashion-MNIST.

python examples/compare_blocks.py --backend jax
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import re
import statistics
import tempfile
import time

BACKENDS = ("tensorflow", "jax", "torch")
FORMS = (
    "plain",
    "RepConv",
    "ACBConv",
    "DBBConv",
    "MobileOneConv",
    "QARepConv",
    "DiracConv",
    "OREPAConv",
)
OUT = pathlib.Path("out")
BATCH = 128


def build(form, steps=1, seed=0):
    """The same net for every form, to be trained for some steps."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    inputs = x = keras.Input((28, 28, 1), name="image")
    for index, (filters, strides) in enumerate(
        [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1)]
    ):
        x = block(form, filters, strides, f"block_{index}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(10, name="label")(x)
    model = keras.Model(inputs, x, name="net")
    rate = keras.optimizers.schedules.CosineDecay(0.003, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def block(form, filters, strides, name):
    from keras import layers

    import keras_rep

    if form != "plain":
        rep_layer = getattr(keras_rep.layers, form)
        return rep_layer(filters, 3, strides, activation="relu", name=name)
    conv = layers.Conv2D(
        filters, 3, strides, padding="same", use_bias=False, name=name
    )
    norm = layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, name=f"{name}_norm"
    )
    relu = layers.ReLU(name=f"{name}_relu")
    return lambda x: relu(norm(conv(x)))


def step_times(forms, batch, rounds=15, repeats=2):
    """Seconds of a training step in each round, the forms taking turns."""
    models = {form: build(form) for form in forms}
    times = {form: [] for form in forms}
    for model in models.values():
        run_steps(model, batch, 2)
    for number in range(rounds):
        for form in forms if number % 2 else reversed(forms):
            start = time.perf_counter()
            run_steps(models[form], batch, repeats)
            times[form].append((time.perf_counter() - start) / repeats)
    return times


def run_steps(model, batch, count):
    for _ in range(count):
        float(model.train_on_batch(*batch))


def training_memory(form, batch):
    """Bytes by which this process grows in a training step, at its peak."""
    model = build(form)
    run_steps(model, batch, 2)
    before = memory("VmRSS")
    # Writing 5 resets the peak to the present value.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    run_steps(model, batch, 2)
    return memory("VmHWM") - before


def memory(field):
    """A figure of this process' memory in bytes, from Linux."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024


def in_a_child(function, *arguments):
    """Calls a function in a process of its own, with a fresh memory."""
    # Large blocks go back to the system when freed, and show when in use.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()
