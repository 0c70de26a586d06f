"""Measures the forms of a trained net side by side."""

import numpy as np

import keras_rep
from keras_rep.export.tflite import convert_tflite
from keras_rep.runtime import TFLiteRunner, latencies


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
    times = latencies(paths.values(), rounds=300)
    rows = []
    for (name, path), seconds in zip(paths.items(), times, strict=True):
        form = 0 if name == "training form" else 1
        runner = TFLiteRunner(path)
        (logits,) = runner({"image": images}).values()
        rows.append(
            {
                "form": name,
                "accuracy": float(np.mean(logits.argmax(-1) == labels)),
                "parameters": counts[0][form],
                "multiply_adds": counts[1][form],
                "file_bytes": path.stat().st_size,
                "latency_us": seconds * 1e6,
                "operations": runner.operations,
            }
        )
    before, after = (m.predict(images, verbose=0) for m in (model, plain))
    keras_accuracy = float(np.mean(before.argmax(-1) == labels))
    return {
        "keras_accuracy": keras_accuracy,
        "max_difference": float(np.abs(before - after).max()),
        "largest_output": float(np.abs(before).max()),
        "rows": rows,
    }


def show(table):
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    view = Table(title="On LiteRT, one thread, one image at a time")
    for column in ("form", "accuracy", "parameters", "multiply-adds", "file"):
        view.add_column(column, justify="left" if column == "form" else "right")
    view.add_column("latency", justify="right")
    view.add_column("operations")
    for row in table["rows"]:
        view.add_row(
            row["form"],
            f"{row['accuracy']:.1%}",
            f"{row['parameters']:,}",
            f"{row['multiply_adds']:,}",
            f"{row['file_bytes'] / 1024:.0f} KiB",
            f"{row['latency_us']:.0f} µs",
            ", ".join(f"{n} {op}" for op, n in row["operations"].items()),
        )
    Console(width=120).print(view)
    print(
        f"Training form and deployed form differ by at most "
        f"{table['max_difference']:.1e}, with outputs up to "
        f"{table['largest_output']:.1f}."
    )
