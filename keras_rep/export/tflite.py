"""Export to TFLite files, from every backend.

The converter is TensorFlow's. On another backend a child process on the
TensorFlow backend runs it: a deployed model is plain Keras, which any backend
can load.
"""

import contextlib
import dataclasses
import json
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
from keras_rep.export.quantization import CALIBRATED, FLOAT32, Quantization
from keras_rep.inputs import flat_arrays
from keras_rep.program import Program


def export_tflite(
    model,
    path,
    *,
    quantization=None,
    representative_data=None,
    per_tensor=False,
    input_type=None,
    output_type=None,
):
    """Deploys a model and writes it to a TFLite file.

    The file holds builtin operations only and has a batch size of 1. Its
    inputs and outputs bear the names of the model's.

    Args:
        model: A built `keras.Model`. It is not changed.
        path: Name of the file, ending in `.tflite`. An existing file is
            replaced, but only once the new one is complete.
        quantization: `None` for float32, `"float16"` for half the size and
            the same operations, `"dynamic"` for int8 weights with float32
            images, `"int8"` for a file that computes in integers throughout,
            `"int16x8"` for the same with int16 images.
        representative_data: Samples that show the ranges of all activations,
            for `"int8"` and `"int16x8"`: arrays in the structure of the
            model's inputs, or an iterable of batches of them, preprocessed as
            for training. A few hundred are enough.
        per_tensor: Whether each kernel has one scale, which some NPUs need,
            instead of one for each output channel; for `"int8"`.
        input_type: Type of the inputs: `"int8"`, `"uint8"` or `"float32"` for
            `"int8"`, `"int16"` or `"float32"` for `"int16x8"`; by default the
            first. `keras_rep.runtime.TFLiteRunner(path).parameters` has their
            scales.
        output_type: Type of the outputs, likewise.

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
    chosen = Quantization.of(quantization, per_tensor, input_type, output_type)
    samples = None
    if chosen.needs_data:
        samples = _representative_samples(
            model, representative_data, quantization
        )
    elif representative_data is not None:
        raise ValueError(
            "`representative_data` is of no use here. Received: data, and "
            f"quantization={quantization!r}. Expected data for {CALIBRATED} "
            "only. Pass one of these, or leave the data out."
        )
    # A deployed sequential model may end in another layer.
    names = graph.output_names(model)
    content = convert_tflite(deploy(model), chosen, samples, names)
    write_atomically(path, content)
    return path


def convert_tflite(model, quantization=FLOAT32, samples=None, names=None):
    """Converts a model as it is, without deploying it.

    Args:
        model: A built functional or sequential model.
        quantization: A `keras_rep.export.quantization.Quantization`.
        samples: List of arrays, one for each input, to find ranges with where
            the quantization needs them.
        names: List of names for the outputs; by default the model's own.

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
    names = names or graph.output_names(model)
    if keras.backend.backend() == "tensorflow":
        return _convert(model, quantization, samples, names)
    return _convert_in_child(model, quantization, samples, names)


def _representative_samples(model, data, mode):
    if data is None:
        raise ValueError(
            f"`quantization={mode!r}` needs `representative_data`. Received: "
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


def _convert(model, quantization, samples, names):
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
    _set_options(tf, converter, quantization)
    if samples is not None:
        converter.representative_dataset = lambda: (
            {
                name: array[i : i + 1].astype("float32")
                for name, array in zip(inputs, samples, strict=True)
            }
            for i in range(len(samples[0]))
        )
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


def _set_options(tf, converter, quantization):
    """Sets what a converter needs to know of a `Quantization`."""
    if quantization.mode is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization.mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization.needs_data:
        operations = {
            "int8": "TFLITE_BUILTINS_INT8",
            "int16x8": (
                "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
            ),
        }
        converter.target_spec.supported_ops = [
            getattr(tf.lite.OpsSet, operations[quantization.mode])
        ]
        converter.inference_input_type = tf.as_dtype(quantization.input_type)
        converter.inference_output_type = tf.as_dtype(quantization.output_type)
    if quantization.per_tensor:
        # The only switches there are; a test counts the scales in the file.
        for suffix in ("", "_quantization_for_dense_layers"):
            name = f"_experimental_disable_per_channel{suffix}"
            setattr(converter, name, True)


def _convert_in_child(model, quantization, samples, names):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        model.save(folder / "model.keras")
        settings = [dataclasses.asdict(quantization), names]
        (folder / "settings.json").write_text(json.dumps(settings))
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
    options, names = json.loads((folder / "settings.json").read_text())
    content = _convert(model, Quantization(**options), samples, names)
    (folder / "model.tflite").write_bytes(content)


if __name__ == "__main__":
    _main(sys.argv[1])
