"""From Keras on TensorFlow to the bytes of a TFLite file."""

import warnings

from keras_rep.errors import DeployError
from keras_rep.export.quantization import Quantization
from keras_rep.export.tracing import serving_function, signature_of
from keras_rep.progress import track


def convert(model, samples, names, batch_size, quantization, select_ops):
    """Converts a model with TensorFlow's converter.

    Args:
        model: A built functional or sequential model, on the TensorFlow
            backend.
        samples: List of arrays, one for each input, to find ranges with, or
            `None`.
        names: List of names for the outputs.
        batch_size: Number of samples that the file takes at once.
        quantization: Fields of a `keras_rep.export.quantization.Quantization`.
        select_ops: Whether operations of TensorFlow's may be in the file.

    Returns:
        Bytes.

    Raises:
        DeployError: If the model cannot be converted.
    """
    tf = import_tensorflow()
    chosen = Quantization(**quantization)
    signature = signature_of(tf, model, batch_size)
    converter = make_converter(
        tf,
        serving_function(tf, model, names),
        signature,
        [variable.value for variable in model.variables],
    )
    _set_options(tf, converter, chosen, select_ops)
    if samples is not None:
        converter.representative_dataset = lambda: _feeds(signature, samples)
    return run_converter(converter, model)


def import_tensorflow():
    """The module tensorflow; raises `DeployError` if there is none."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise DeployError(
            "Cannot convert to TFLite. Received: no TensorFlow. Expected it, "
            "because it brings the converter. Run `pip install "
            "'keras-rep[tflite]'`."
        ) from error
    return tf


def make_converter(tf, function, signature, variables):
    """A `tf.lite.TFLiteConverter` for a function.

    Args:
        tf: The module tensorflow.
        function: A function from tensors to a dictionary of them.
        signature: List of `tf.TensorSpec`.
        variables: List of the `tf.Variable`s that the function reads. Of
            constants instead, the converter would make 30 copies.
    """
    module = tf.Module()
    # What a module does not hold is not saved, and the converter saves it.
    module.weights = variables
    module.serve = tf.function(
        function, input_signature=signature, autograph=False
    )
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [module.serve.get_concrete_function()], module
    )


def run_converter(converter, model):
    """The bytes of the file; raises `DeployError` if the model has none."""
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


def _set_options(tf, converter, quantization, select_ops):
    """Tells a converter of a `Quantization`."""
    operations = {
        "int8": "TFLITE_BUILTINS_INT8",
        "int16x8": (
            "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
        ),
    }.get(quantization.mode, "TFLITE_BUILTINS")
    allowed = [getattr(tf.lite.OpsSet, operations)]
    if select_ops:
        allowed.append(tf.lite.OpsSet.SELECT_TF_OPS)
    converter.target_spec.supported_ops = allowed
    if quantization.mode is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization.mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization.needs_data:
        converter.inference_input_type = tf.as_dtype(quantization.input_type)
        converter.inference_output_type = tf.as_dtype(quantization.output_type)
    if quantization.per_tensor:
        # The only switches there are; a test counts the scales in the file.
        for suffix in ("", "_quantization_for_dense_layers"):
            name = f"_experimental_disable_per_channel{suffix}"
            setattr(converter, name, True)


def _feeds(signature, samples):
    """Yields the samples in batches, by the names of the inputs."""
    size = signature[0].shape[0]
    count = len(samples[0])
    for start in track(range(0, count, size), "calibrating"):
        # The last batch may be filled up with the first samples.
        rows = [i % count for i in range(start, start + size)]
        yield {
            spec.name: array[rows].astype("float32")
            for spec, array in zip(signature, samples, strict=True)
        }
