"""Measures the forms of a trained net side by side."""

import numpy as np

import keras_rep
from keras_rep.export.tflite import convert_tflite
from keras_rep.runtime import TFLiteRunner, latencies

# What a row of a table may hold, and how it is printed.
COLUMNS = {
    "form": ("form", str),
    "layers": ("layers", str),
    "sums": ("Add", str),
    "accuracy": ("accuracy", "{:.1%}".format),
    "parameters": ("parameters", "{:,}".format),
    "multiply_adds": ("multiply-adds", "{:,}".format),
    "max_rel_error": ("difference", "{:.0e}".format),
    "file_bytes": ("file", lambda size: f"{size / 1024:,.0f} KiB"),
    "latency_us": ("latency", "{:,.0f} µs".format),
    "operations": (
        "operations",
        lambda counts: ", ".join(f"{n} {op}" for op, n in counts.items()),
    ),
}


def measure(model, plain, folder, images, labels):
    """Runs the files of a net on LiteRT.

    Args:
        model: The trained model.
        plain: Its deployed form.
        folder: Folder with `deployed.tflite` and `deployed_int8.tflite`.
        images: Test images.
        labels: Their classes.

    Returns:
        A dictionary that JSON can hold.
    """
    training = folder / "training_form.tflite"
    training.write_bytes(convert_tflite(model))
    paths = {
        "training form": training,
        "deployed": folder / "deployed.tflite",
        "deployed int8": folder / "deployed_int8.tflite",
    }
    report = keras_rep.explain(model)
    counts = [report.parameters, report.multiply_adds]
    rows = run_files(paths, images, labels, rounds=300)
    for row in rows:
        form = 0 if row["form"] == "training form" else 1
        row["parameters"], row["multiply_adds"] = (n[form] for n in counts)
    before, after = (m.predict(images, verbose=0) for m in (model, plain))
    keras_accuracy = float(np.mean(before.argmax(-1) == labels))
    return {
        "keras_accuracy": keras_accuracy,
        "max_difference": float(np.abs(before - after).max()),
        "largest_output": float(np.abs(before).max()),
        "rows": rows,
    }


def run_files(paths, images, labels, rounds):
    """Runs files of nets with one input, "image", on LiteRT.

    Args:
        paths: Dictionary from the names of the forms to `pathlib.Path`.
        images: Test images.
        labels: Their classes.
        rounds: Number of measured runs of each file.

    Returns:
        A list with one dictionary for each file.
    """
    times = latencies(paths.values(), rounds=rounds)
    rows = []
    for (name, path), time in zip(paths.items(), times, strict=True):
        runner = TFLiteRunner(path)
        (logits,) = runner({"image": images}).values()
        rows.append(
            {
                "form": name,
                "accuracy": float(np.mean(logits.argmax(-1) == labels)),
                "file_bytes": path.stat().st_size,
                "latency_us": time.median * 1e6,
                "operations": runner.operations,
            }
        )
    return rows


def show_rows(rows):
    """Prints the rows of a table."""
    from rich.console import Console
    from rich.table import Table

    view = Table(title="On LiteRT, one thread, one image at a time")
    columns = {key: pair for key, pair in COLUMNS.items() if key in rows[0]}
    for key, (title, _) in columns.items():
        is_text = key in ("form", "operations")
        view.add_column(title, justify="left" if is_text else "right")
    for row in rows:
        view.add_row(*(write(row[key]) for key, (_, write) in columns.items()))
    Console(width=120).print(view)


def show(table):
    """Prints what `measure` returned."""
    show_rows(table["rows"])
    print(
        f"Training form and deployed form differ by at most "
        f"{table['max_difference']:.1e}, with outputs up to "
        f"{table['largest_output']:.1f}."
    )
