"""MobileNetV2 without residuals, which makes it a MobileNetV1.

The RM operation (arXiv 2111.00687) passes the input of a residual block
through its convolutions, as additional channels. Then no addition is left, and
the linear 1×1 convolutions that now follow each other merge into one.

python examples/remove_residuals.py
"""

import functools
import math
import pathlib
import tempfile

import keras
from imagenet import mobilenet_v2, photos
from tables import run_files, show_rows

import keras_rep
from keras_rep import rules
from keras_rep.export.tflite import convert_tflite
from keras_rep.report import multiply_adds

WITHOUT_RESIDUALS = [
    *rules.DEFAULT_RULES,
    rules.remove_residuals,
    # At any price: merged, the pairs have more weights than apart.
    functools.partial(rules.merge_linear_chains, max_growth=math.inf),
]


def main():
    model = mobilenet_v2()
    images, labels = photos()
    forms = {
        "original": model,
        "deployed": keras_rep.deploy(model),
        "no residuals": keras_rep.deploy(model, rules=WITHOUT_RESIDUALS),
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: pathlib.Path(folder, f"form_{index}.tflite")
            for index, name in enumerate(forms)
        }
        for name, path in paths.items():
            path.write_bytes(convert_tflite(forms[name]))
        rows = run_files(paths, images, labels, rounds=30)
    for row in rows:
        form = forms[row["form"]]
        row["layers"] = len(form.layers)
        row["sums"] = sum(isinstance(x, keras.layers.Add) for x in form.layers)
        row["parameters"] = form.count_params()
        row["multiply_adds"] = sum(
            multiply_adds(layer, layer.input.shape)
            for layer in form.layers
            if layer.weights
        )
        equivalence = keras_rep.verify(model, form, images)
        row["max_rel_error"] = equivalence.max_rel_error
        # Too many kinds to print.
        del row["operations"]
    show_rows(rows)
    _, deployed, last = rows
    factors = [
        (title, last[key] / deployed[key])
        for key, title in (
            ("parameters", "the parameters"),
            ("multiply_adds", "the multiply-adds"),
            ("latency_us", "the time"),
        )
    ]
    print(
        "The difference is relative to the largest output, the accuracy that "
        f"of {len(labels)} photos. Relative to the deployed form, the one "
        "without residuals takes "
        + ", ".join(f"{factor:.2f}× {title}" for title, factor in factors)
        + ". The reserved channels must pass the cap of ReLU6 unharmed, which "
        "takes two PReLU and a 1×1 depthwise convolution in place of each. So "
        "the conversion makes nothing faster by itself: it gives a plain "
        "chain of layers, to be pruned and trained further."
    )


if __name__ == "__main__":
    main()
