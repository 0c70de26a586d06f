"""Every network of the table at full size, through the whole chain.

    make bench-models NAMES="RepVGG-A0 MobileOne-S0"

With random weights each is trained for a step, deployed, compared at two sizes
of images, saved and loaded, exported to int8, and that file run; in a process
of its own, because JAX and TensorFlow keep what they compiled. Printed are the
largest differences of the deployed model, relative to the largest output, the
signal-to-noise ratio of the int8 file in decibels, its size and the seconds
that all took. The exit code is 1 if a network failed.
"""

import concurrent.futures
import multiprocessing
import pathlib
import sys
import tempfile
import time

import keras
import models as table

import keras_rep

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests"))
from arrays import randomize
from model_cases import LOSS
from model_checks import (
    TOLERANCE,
    assert_loads_back,
    assert_trains,
    images,
    settle,
)

HEADER = """\
| network | error | of another size | int8, dB | int8, MB | seconds |
|---|---|---|---|---|---|"""
# Calibrated and compared with so many images: few, because each takes seconds.
IMAGES = 4
NETWORKS = {name: make for name, make, _ in table.rows()}


def chain(name):
    """A row of the printed table, and whether deploying is exact."""
    make, start = NETWORKS[name], time.perf_counter()
    is_autoencoder = name.startswith("CRNet")
    options = {} if is_autoencoder else {"classifier_activation": None}
    model = make(**options)
    height, width, channels = model.input_shape[1:]
    # The code of an autoencoder must divide the image.
    other = (height, width + 8) if is_autoencoder else (height + 1, width + 31)

    train(model, "mse" if is_autoencoder else LOSS)
    model = table.inference_form(model)
    errors = [error_of_deployed(model)]
    again = table.inference_form(
        make(**options, input_shape=(*other, channels))
    )
    errors.append(error_of_deployed(again))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = images(model, count=IMAGES)
        settle(model, data)
        assert_loads_back(model, folder)
        path = keras_rep.export_tflite(
            model,
            folder / "net.tflite",
            quantization="int8",
            representative_data=data,
        )
        (snr,) = keras_rep.check(path, model, data).snr_db.values()
        megabytes = path.stat().st_size / 1e6
    seconds = time.perf_counter() - start
    first, second = (f"{error:.1e}" for error in errors)
    row = f"| {name} | {first} | {second} | {snr:.0f} | {megabytes:.1f} |"
    return f"{row} {seconds:.0f} |", max(errors) <= TOLERANCE


def train(model, loss):
    """One step; RepVGGplus has several outputs, with a loss each."""
    if isinstance(model.output, dict):
        loss = dict.fromkeys(model.output, loss)
    assert_trains(model, loss)


def error_of_deployed(model):
    """Largest difference of the deployed form, of weights that show mistakes.

    Relative to the largest output.
    """
    randomize(model)
    plain = keras_rep.deploy(model, verify=False)
    return keras_rep.verify(model, plain, images(model)).max_rel_error


def main(names):
    """Prints the rows with the given names; all without any."""
    names = names or NETWORKS
    if unknown := set(names) - set(NETWORKS):
        sys.exit(
            f"Unknown: {sorted(unknown)}. Expected some of {list(NETWORKS)}."
        )
    print(f"Keras with {keras.backend.backend()}\n\n{HEADER}", flush=True)
    failed = []
    for name in names:
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as process:
            try:
                row, is_close = process.submit(chain, name).result()
            except Exception as error:
                row, is_close = f"| {name} | {error!r:.200} |", False
        print(row, flush=True)
        if not is_close:
            failed.append(name)
    if failed:
        sys.exit(f"Failed, or above {TOLERANCE:g}: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
