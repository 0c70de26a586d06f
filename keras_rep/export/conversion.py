"""Converting models on TensorFlow, from whichever backend.

The converters are TensorFlow's. On another backend a child process on the
TensorFlow backend runs them: a deployed model is plain Keras, which any backend
can load.
"""

import contextlib
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_rep import graph
from keras_rep.errors import DeployError


def convert(model, converter, names=None, samples=None, **options):
    """Converts a model as it is, without deploying it.

    Args:
        model: A built functional or sequential model, in float32.
        converter: Name of the module of this package that does it.
        names: List of names for the outputs; by default the model's own.
        samples: List of arrays, one for each input, or `None`.
        **options: Values for the converter, which JSON can hold.

    Returns:
        The bytes of a file.

    Raises:
        DeployError: If the model cannot be converted.
    """
    names = names or graph.output_names(model)
    if keras.backend.backend() == "tensorflow":
        return convert_here(model, converter, names, samples, options)
    return _convert_in_child(model, converter, names, samples, options)


def convert_here(model, converter, names, samples, options):
    """As `convert`, where this process is on the TensorFlow backend."""
    module = importlib.import_module(f"keras_rep.export.{converter}")
    return module.convert(model, samples, names, **options)


def _convert_in_child(model, converter, names, samples, options):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        model.save(folder / "model.keras")
        settings = json.dumps([converter, names, options])
        (folder / "settings.json").write_text(settings)
        if samples is not None:
            np.savez(folder / "samples.npz", *samples)
        paths = [str(pathlib.Path(__file__).parents[2]), *sys.path]
        child = subprocess.run(
            [sys.executable, "-m", "keras_rep.export.child", temporary],
            env={
                **os.environ,
                "KERAS_BACKEND": "tensorflow",
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            },
            capture_output=True,
            text=True,
        )
        with contextlib.suppress(FileNotFoundError):
            raise DeployError((folder / "error").read_text())
        if child.returncode:
            raise DeployError(
                f"Cannot convert model '{model.name}'. Received from the child "
                "process on the TensorFlow backend: exit code "
                f"{child.returncode} and\n{child.stderr}\nExpected TensorFlow "
                "to load and convert the deployed model. Run `pip install "
                "'keras-rep[tflite]'` if it is missing; layers of your own "
                "must be exported from the TensorFlow backend."
            )
        return (folder / "content").read_bytes()
