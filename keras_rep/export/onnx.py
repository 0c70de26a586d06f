"""Export to ONNX files, from every backend."""

from keras_rep import graph
from keras_rep.export.arguments import (
    check_batch_size,
    check_model,
    float32_model,
)
from keras_rep.export.conversion import convert
from keras_rep.export.files import check_target, write_atomically
from keras_rep.export.verification import FLOAT32_TOLERANCE, verify_file
from keras_rep.runtime import ONNXRunner

# From the oldest that tf2onnx 1.17 writes well to the newest that was tried.
OPSETS = range(13, 23)


def export_onnx(
    model, path, *, opset=18, batch_size=None, as_is=False, verify=True
):
    """Deploys a model and writes it to an ONNX file.

    The file is checked by `onnx.checker`, its shapes are inferred, and it is
    run on ONNX Runtime before it gets its name. It must return what the model
    does, to 1e-5 of the largest output; of a model that turns rounding into
    more, to ten times what the last digit of its weights changes. Images keep
    the layout that they have in Keras, by default `(batch, height, width,
    channels)`; inputs and outputs bear the names of the model's.

    Args:
        model: A built `keras.Model`. It is not changed.
        path: Name of the file, ending in `.onnx`. An existing file is
            replaced, but only once the new one is complete.
        opset: Version of the ONNX operations, 13 to 22.
        batch_size: Number of samples that the file takes at once; `None` for
            any number.
        as_is: Whether to convert the model without deploying it, to compare
            with.
        verify: Whether to compare the deployed model with the model, and the
            file with the deployed model, on random inputs.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        ValueError: If the path, the opset or the batch size does not fit.
        DeployError: If the model cannot be deployed or converted. No file is
            written then.

    Example:
    >>> import keras
    >>> model = keras.Sequential([keras.Input((8, 8, 3)), RepConv(4)])
    >>> path = export_onnx(model, "m.onnx")
    """
    path = check_target(path, ".onnx")
    check_model(model)
    check_batch_size(batch_size, None)
    if opset not in OPSETS:
        raise ValueError(
            f"Unknown opset. Received: opset={opset!r}. Expected one of "
            f"{list(OPSETS)}. Leave it out for 18."
        )
    # A deployed sequential model may end in another layer.
    names = graph.output_names(model)
    plain = float32_model(model, as_is=as_is, verify=verify)
    content = convert(
        plain, "onnx_converter", names, batch_size=batch_size, opset=opset
    )
    if verify:
        verify_file(ONNXRunner(content), plain, names, FLOAT32_TOLERANCE)
    write_atomically(path, content)
    return path
