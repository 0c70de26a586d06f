"""Export to TFLite files, from every backend.

The converter is TensorFlow's. On another backend a child process on the
TensorFlow backend runs it: a deployed model is plain Keras, which any backend
can load.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import keras
import numpy as np
from keras import tree

from keras_rep import graph
from keras_rep.building import build
from keras_rep.deployment import deploy
from keras_rep.errors import DeployError
from keras_rep.export.files import check_target, write_atomically
from keras_rep.inputs import flat_arrays
from keras_rep.program import Program

QUANTIZATIONS = (None, "int8")


def export_tflite(model, path, *, quantization=None, representative_data=None):
    """Deploys a model and writes it to a TFLite file.

    The file holds builtin operations only and has a batch size of 1. Its
    inputs and outputs bear the names of the model's.

    Args:
        model: A built `keras.Model`. It is not changed.
        path: Name of the file, ending in `.tflite`. An existing file is
            replaced, but only once the new one is complete.
        quantization: `None` for float32, or `"int8"` for a file that computes
            in integers throughout, with int8 inputs and outputs.
        representative_data: Samples that show the ranges of all activations,
            for `"int8"`: arrays in the structure of the model's inputs, or an
            iterable of batches of them, preprocessed as for training. A few
            hundred are enough.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        ValueError: If the path, the quantization or the data does not fit.
        DeployError: If the model cannot be deployed or converted. No file is
            written then.

    Example:
    >>> import keras
    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((8, 8, 3)), RepConv(4)])
    >>> data = np.random.default_rng(0).normal(size=(20, 8, 8, 3))
    >>> path = export_tflite(
    ...     model, "m.tflite", quantization="int8", representative_data=data
    ... )
    """
    path = check_target(path, ".tflite")
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Cannot export an object of type {type(model).__name__}. "
            f"Received: {model!r}. Expected a `keras.Model`. Wrap a layer in "
            "`keras.Sequential([keras.Input(shape), layer])`."
        )
    if quantization not in QUANTIZATIONS:
        raise ValueError(
            f"Unknown quantization. Received: quantization={quantization!r}. "
            f"Expected one of {QUANTIZATIONS}. Leave it out for float32."
        )
    samples = None
    if quantization == "int8":
        samples = _representative_samples(model, representative_data)
    elif representative_data is not None:
        raise ValueError(
            "`representative_data` is of no use here. Received: data, and "
            f"quantization={quantization!r}. Expected data for 'int8' only. "
            "Pass `quantization='int8'`, or leave the data out."
        )
    write_atomically(path, convert_tflite(deploy(model), samples))
    return path


def convert_tflite(model, samples=None):
    """Converts a model as it is, without deploying it.

    Args:
        model: A built functional or sequential model.
        samples: List of arrays, one for each input, to calibrate int8 ranges
            with; `None` for a float32 file.

    Returns:
        The bytes of a TFLite file.

    Raises:
        DeployError: If the model cannot be converted.
    """
    for spec in model.inputs:
        if None in spec.shape[1:]:
            raise DeployError(
                f"Cannot convert model '{model.name}' to TFLite. Received: "
                f"the input '{spec.name}' of shape {spec.shape}. Expected all "
                "sizes but that of the batch to be known. Rebuild the model "
                "with a fixed input size, and load the weights into it."
            )
    if graph.compute_dtypes(model) - {"float32"}:
        # Half precision is a matter of training; files are made of float32.
        model = build(Program(model), dtype="float32")
    if keras.backend.backend() == "tensorflow":
        return _convert(model, samples)
    return _convert_in_child(model, samples)


def _representative_samples(model, data):
    if data is None:
        raise ValueError(
            "`quantization='int8'` needs `representative_data`. Received: "
            "None. Expected samples of the model's inputs, from which the "
            "ranges of the activations are read. Pass some hundred samples of "
            "the training data, preprocessed as for training."
        )
    is_structure = isinstance(data, dict | list | tuple | str)
    if not is_structure and not hasattr(data, "shape"):
        batches = list(data)
        if not batches:
            raise ValueError(
                "`representative_data` holds no batch. Received: an empty "
                "iterable. Expected some hundred samples. If it is an "
                "iterator, make a new one: it may have been used up."
            )
        data = tree.map_structure(
            lambda *parts: np.concatenate([np.asarray(x) for x in parts]),
            *batches,
        )
    return flat_arrays(model, data, "representative_data")


def _convert(model, samples):
    try:
        import tensorflow as tf
    except ImportError as error:
        raise DeployError(
            "Cannot convert to TFLite. Received: no TensorFlow. Expected it, "
            "because it brings the converter. Run `pip install "
            "'keras-rep[tflite]'`."
        ) from error
    # The weights become constants of the graph: a function that still holds
    # variables cannot be calibrated, and one from a SavedModel of unknown
    # batch size splits dilated convolutions into three operations.
    trainable = [tf.constant(v.numpy()) for v in model.trainable_variables]
    other = [tf.constant(v.numpy()) for v in model.non_trainable_variables]
    inputs = graph.input_names(model)
    signature = [
        tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, name=name)
        for spec, name in zip(model.inputs, inputs, strict=True)
    ]

    structure = graph.input_specs(model)
    names = graph.output_names(model)

    @tf.function(input_signature=signature, autograph=False)
    def serve(*tensors):
        outputs, _ = model.stateless_call(
            trainable,
            other,
            tree.pack_sequence_as(structure, list(tensors)),
            training=False,
        )
        return dict(zip(names, tree.flatten(outputs), strict=True))

    module = tf.Module()
    module.serve = serve
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [serve.get_concrete_function()], module
    )
    if samples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            {
                name: array[i : i + 1].astype("float32")
                for name, array in zip(inputs, samples, strict=True)
            }
            for i in range(len(samples[0]))
        )
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        ]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        # Both speak of the converter's own calls.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
        try:
            return converter.convert()
        except Exception as error:
            raise DeployError(
                f"Cannot convert model '{model.name}' to TFLite. Received from "
                f"TensorFlow's converter: {type(error).__name__}: {error}. "
                "Expected operations that TFLite has. Replace the operation "
                "that it names."
            ) from error


def _convert_in_child(model, samples):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        model.save(folder / "model.keras")
        if samples is not None:
            np.savez(folder / "samples.npz", *samples)
        paths = [str(pathlib.Path(__file__).parents[2]), *sys.path]
        child = subprocess.run(
            [sys.executable, "-m", "keras_rep.export.tflite", str(folder)],
            env={
                **os.environ,
                "KERAS_BACKEND": "tensorflow",
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            },
            capture_output=True,
            text=True,
        )
        if child.returncode:
            raise DeployError(
                f"Cannot convert model '{model.name}' to TFLite. Received "
                "from the child process on the TensorFlow backend: exit code "
                f"{child.returncode} and\n{child.stderr}\nExpected TensorFlow "
                "to load and convert the deployed model. Run `pip install "
                "'keras-rep[tflite]'` if it is missing; layers of your own "
                "must be exported from the TensorFlow backend."
            )
        return (folder / "model.tflite").read_bytes()


def _main(folder):
    """The child process: converts the model that lies in a folder."""
    folder = pathlib.Path(folder)
    model = keras.models.load_model(folder / "model.keras", compile=False)
    samples = None
    with contextlib.suppress(FileNotFoundError):
        archive = np.load(folder / "samples.npz")
        samples = [archive[f"arr_{i}"] for i in range(len(archive.files))]
    (folder / "model.tflite").write_bytes(_convert(model, samples))


if __name__ == "__main__":
    _main(sys.argv[1])
