"""The blocks side by side: accuracy, step time and memory on Fashion-MNIST.

python examples/compare_blocks.py --backend jax
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import re
import time

import numpy as np
from datasets import fashion_mnist
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

BACKENDS = ("tensorflow", "jax", "torch")
FORMS = (
    "plain RepConv ACBConv DBBConv MobileOneConv QARepConv DiracConv OREPAConv"
).split()
OUT = pathlib.Path("out")
BATCH = 128
SHAPES = [(16, 3), (32, 3, 2), (32, 3), (64, 3, 2), (64, 3)]  # as in Conv2D


def build(form, steps=1):
    """The same net for every form, to be trained for some steps."""
    import keras
    from keras import layers

    import keras_rep

    inputs = x = keras.Input((28, 28, 1), name="image")
    for i, shape in enumerate(SHAPES):
        if form != "plain":
            rep_layer = getattr(keras_rep.layers, form)
            x = rep_layer(*shape, activation="relu", name=f"block_{i}")(x)
            continue
        # The name is as long as the others', because files hold names, too.
        options = {"padding": "same", "use_bias": False, "name": f"plain_{i}"}
        x = layers.Conv2D(*shape, **options)(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
        x = layers.ReLU(name=f"block_{i}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(10, name="label")(x), name="net")
    rate = keras.optimizers.schedules.CosineDecay(0.003, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    return model


def run_steps(model, batch, count):
    for _ in range(count):
        float(model.train_on_batch(*batch))


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


def training_memory(form, batch):
    """MiB by which this process grows in a training step, at its peak."""
    model = build(form)
    run_steps(model, batch, 2)
    time.sleep(1)  # A backend may free its memory behind the call's back.
    # Writing 5 resets the peak to the present value.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory()
    # Not all steps are alike: a backend may run operations side by side.
    run_steps(model, batch, 10)
    return peak_memory() - before


def peak_memory():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def train(form, seed, epochs, data):
    """Trains and deploys; returns both models, and the test accuracy."""
    import keras

    import keras_rep

    (x, y), (x_test, y_test) = data
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = build(form, epochs * -(-len(x) // BATCH))
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    plain = keras_rep.deploy(model)
    logits = plain.predict(x_test, batch_size=500, verbose=0)
    return model, plain, float((logits.argmax(-1) == y_test).mean())


def show(rows, title):
    cells = {
        "form": "{form}",
        "accuracy": "{accuracy:.2%} ± {spread:.2%}",
        "step (to plain)": "{step_ms:.0f} ms ({step_ratio:.2f})",
        "memory": "{memory_mib:.0f} MiB",
        "parameters": "{parameters:,}",
        "deployed": "{deployed_parameters:,}, {deployed_bytes:,} B",
    }
    table = Table(*cells, title=title)
    for row in rows:
        table.add_row(*(cell.format(**row) for cell in cells.values()))
    Console(width=100).print(table)


def plot(rows, title, path):
    """Draws error, step time and memory: bars from 0, less is better."""
    figure = Figure(figsize=(12, 1.4 + len(rows) / 2), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    names = [row["form"] for row in rows]
    bars = {
        "test error, deployed (%)": [100 * (1 - r["accuracy"]) for r in rows],
        "training step (ms)": [row["step_ms"] for row in rows],
        "memory of the step (MiB)": [row["memory_mib"] for row in rows],
    }
    spreads = [[100 * row["spread"] for row in rows], None, None]
    for axis, label, spread in zip(axes, bars, spreads, strict=True):
        drawn = axis.barh(names, bars[label], xerr=spread, capsize=4)
        axis.bar_label(drawn, fmt=" %.1f")
        axis.set_title(label)
        axis.margins(x=0.25)
    axes[0].invert_yaxis()
    figure.suptitle(f"Fashion-MNIST, {title}")
    figure.savefig(path, dpi=110)


def main(backend, epochs, seeds, train_images, forms):
    import keras_rep

    OUT.mkdir(exist_ok=True)
    train_data, test_data = fashion_mnist()
    order = np.random.default_rng(0).permutation(len(train_data[1]))
    data = [a[order[:train_images]] for a in train_data], test_data
    batch = [array[:BATCH] for array in data[0]]
    forms = list(dict.fromkeys(["plain", *forms]))
    title = f"{backend}: {train_images} images, {epochs} epochs, seeds: {seeds}"
    # In the children, large blocks go back to the system when they are freed.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    spawn = multiprocessing.get_context("spawn")
    times = step_times(forms, batch)
    rows = []
    for form in forms:
        runs = [train(form, seed, epochs, data) for seed in range(seeds)]
        models, deployed, accuracies = zip(*runs, strict=True)
        file = keras_rep.export_tflite(deployed[0], OUT / "blocks.tflite")
        with spawn.Pool(1) as pool:
            growth = pool.apply(training_memory, (form, batch))
        row = {
            "form": form,
            "accuracies": accuracies,
            "accuracy": np.mean(accuracies),
            "spread": np.std(accuracies, ddof=min(1, seeds - 1)),
            "step_ms": 1000 * np.median(times[form]),
            "step_ratio": np.median(np.divide(times[form], times["plain"])),
            "memory_mib": growth,
            "parameters": models[0].count_params(),
            "deployed_parameters": deployed[0].count_params(),
            "deployed_bytes": file.stat().st_size,
        }
        rows.append(row)
        # Now, so that an interrupted run leaves what it has.
        text = json.dumps({"title": title, "rows": rows}, indent=2)
        (OUT / "compare_blocks.json").write_text(text + "\n")
        plot(rows, title, OUT / "compare_blocks.png")
        print(f"{form}: {row['accuracy']:.2%}", flush=True)
    show(rows, title)
    sizes = {(r["deployed_parameters"], r["deployed_bytes"]) for r in rows}
    if len(sizes) > 1:
        raise SystemExit(f"The forms differ in size when deployed: {sizes}.")
    print("Deployed, all forms have equally many parameters and bytes.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, default="tensorflow")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train-images", type=int, default=20000)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    arguments = parser.parse_args()
    os.environ["KERAS_BACKEND"] = arguments.backend
    main(**vars(arguments))
