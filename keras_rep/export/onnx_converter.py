"""From Keras on TensorFlow to the bytes of an ONNX file."""

import contextlib
import logging

from keras_rep.errors import DeployError
from keras_rep.export.tracing import serving_function, signature_of


def convert(model, samples, names, batch_size, opset):
    """Converts a model with tf2onnx.

    Args:
        model: A built functional or sequential model, on the TensorFlow
            backend.
        samples: `None`; for the sake of one interface.
        names: List of names for the outputs.
        batch_size: Number of samples that the file takes at once, or `None`
            for any number.
        opset: Version of the ONNX operations.

    Returns:
        Bytes.

    Raises:
        DeployError: If the model cannot be converted.
    """
    try:
        import onnx
        import tensorflow as tf
        import tf2onnx
    except ImportError as error:
        raise DeployError(
            f"Cannot convert to ONNX. Received: {error}. Expected the packages "
            "tensorflow, tf2onnx and onnx. Run `pip install "
            "'keras-rep[onnx]'`."
        ) from error
    signature = signature_of(tf, model, batch_size)
    serve = serving_function(tf, model, names)
    with _inlined(tf), _quiet("tensorflow"):
        function = tf.compat.v1.wrap_function(serve, signature)
    inputs = [tensor.name for tensor in function.inputs]
    outputs = {x.name: name for name, x in function.structured_outputs.items()}
    bare = {name: name.partition(":")[0] for name in inputs}
    try:
        with _quiet("tf2onnx", "tensorflow"):
            content, _ = tf2onnx.convert.from_graph_def(
                function.graph.as_graph_def(),
                name=model.name,
                input_names=inputs,
                output_names=list(outputs),
                tensors_to_rename=bare | outputs,
                opset=opset,
            )
        onnx.checker.check_model(content, full_check=True)
    # tf2onnx raises whatever its steps do, and the checker its own errors.
    except Exception as error:
        raise DeployError(
            f"Cannot convert model '{model.name}' to ONNX. Received from "
            f"tf2onnx: {type(error).__name__}: {error}. Expected operations "
            f"that ONNX has in opset {opset}. Choose another opset, or replace "
            "the operation that it names."
        ) from error
    return content.SerializeToString()


@contextlib.contextmanager
def _inlined(tf):
    """Lets TensorFlow put what functions inside of a function do in its graph.

    Keras computes grouped convolutions in a function of their own, which is
    compiled by XLA and which tf2onnx cannot look into.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextlib.contextmanager
def _quiet(*names):
    """Silences warnings on calls that are not the user's."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
