"""Export to TFLite files, from every backend."""

import dataclasses

import numpy as np
from keras import tree

from keras_rep import graph
from keras_rep.errors import DeployError
from keras_rep.export.arguments import (
    check_batch_size,
    check_model,
    float32_model,
)
from keras_rep.export.conversion import convert
from keras_rep.export.files import check_target, write_atomically
from keras_rep.export.integers import (
    check_operations,
    convert_form,
    make_form,
)
from keras_rep.export.metadata import add_metadata, check_metadata
from keras_rep.export.quantization import CALIBRATED, FLOAT32, Quantization
from keras_rep.export.verification import (
    FLOAT16_TOLERANCE,
    FLOAT32_TOLERANCE,
    verify_file,
)
from keras_rep.inputs import sample_batches
from keras_rep.quantize.fake_quantization import (
    is_fake_quantized,
    rounded_bits,
)
from keras_rep.runtime import TFLiteRunner

# Where activations are floating-point numbers, by the mode of quantization.
TOLERANCES = {None: FLOAT32_TOLERANCE, "float16": FLOAT16_TOLERANCE}


def export_tflite(
    model,
    path,
    *,
    quantization=None,
    representative_data=None,
    ranges=None,
    per_tensor=False,
    input_type=None,
    output_type=None,
    batch_size=1,
    select_ops=False,
    metadata=None,
    as_is=False,
    verify=True,
):
    """Deploys a model and writes it to a TFLite file.

    The file is run on LiteRT before it gets its name; a float32 file must
    return what the model does, to 1e-5 of the largest output; of a model that
    turns rounding into more, to ten times what the last digit of its weights
    changes. Its inputs and outputs bear the names of the model's, in one
    signature.

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
        ranges: Ranges for `"int8"` in place of data, a dictionary as
            `keras_rep.quantize.calibrate` returns it.
        per_tensor: Whether each kernel has one scale, which some NPUs need,
            instead of one for each output channel; for `"int8"`.
        input_type: Type of the inputs: `"int8"`, `"uint8"` or `"float32"` for
            `"int8"`, `"int16"` or `"float32"` for `"int16x8"`; by default the
            first. `keras_rep.runtime.TFLiteRunner(path).parameters` has their
            scales.
        output_type: Type of the outputs, likewise.
        batch_size: Number of samples that the file takes at once.
        select_ops: Whether operations of TensorFlow's may be in the file where
            TFLite has none. Such a file needs an interpreter with the Flex
            delegate, and is not run here.
        metadata: `keras_rep.Metadata` for apps: how the input was normalized,
            names of the classes.
        as_is: Whether to convert the model without deploying it, to compare
            with.
        verify: Whether to compare the deployed model with the model, and the
            file with the deployed model, on random inputs.

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
    check_model(model)
    check_batch_size(batch_size)
    chosen = Quantization.of(quantization, per_tensor, input_type, output_type)
    samples = _samples(model, representative_data, chosen, ranges)
    # A deployed sequential model may end in another layer.
    names = graph.output_names(model)
    form = None
    if quantization == "int8" and not (as_is or select_ops):
        data = samples and tree.pack_sequence_as(
            graph.input_specs(model), samples
        )
        # What rounds already is no longer the model that was deployed.
        deployed = model
        if not is_fake_quantized(model):
            deployed = float32_model(model, as_is=False, verify=verify)
        form = make_form(deployed, data, ranges, per_tensor)
        plain = form.model
    else:
        plain = float32_model(model, as_is=as_is, verify=verify)
    if metadata is not None:
        check_metadata(metadata, plain)
    if form is not None:
        content, is_exact = convert_form(
            form, chosen, samples, names, batch_size
        )
    else:
        content = convert_tflite(
            plain,
            chosen,
            samples,
            names,
            batch_size=batch_size,
            select_ops=select_ops,
        )
    if metadata is not None:
        content = add_metadata(content, metadata)
    if verify and not select_ops:
        tolerance = TOLERANCES.get(quantization, np.inf)
        verify_file(TFLiteRunner(content), plain, names, tolerance)
        if form is not None and is_exact:
            check_operations(content, form, samples)
    write_atomically(path, content)
    return path


def convert_tflite(
    model,
    quantization=FLOAT32,
    samples=None,
    names=None,
    *,
    batch_size=1,
    select_ops=False,
):
    """Converts a model as it is, without deploying it.

    Args:
        model: A built functional or sequential model, in float32.
        quantization: A `keras_rep.export.quantization.Quantization`.
        samples: List of arrays, one for each input, to find ranges with where
            the quantization needs them.
        names: List of names for the outputs; by default the model's own.
        batch_size: Number of samples that the file takes at once.
        select_ops: Whether operations of TensorFlow's may be in the file.

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
    return convert(
        model,
        "tflite_converter",
        names,
        samples,
        batch_size=batch_size,
        quantization=dataclasses.asdict(quantization),
        select_ops=select_ops,
    )


def _samples(model, data, quantization, ranges):
    """The representative data as a list of arrays, or `None` for none."""
    mode = quantization.mode
    _check_rounding(model, mode)
    if ranges is not None and mode != "int8":
        raise ValueError(
            "`ranges` are of no use here. Received: ranges, and quantization="
            f"{mode!r}. Expected 'int8'. Pass that, or leave them out."
        )
    if data is not None and (ranges is not None or not quantization.needs_data):
        raise ValueError(
            "`representative_data` is of no use here. Received: data, and "
            f"quantization={mode!r}{' with ranges' if ranges else ''}. "
            f"Expected data for {CALIBRATED} only, without ranges. Pass one of "
            "these, or leave the data out."
        )
    if data is None:
        has_ranges = ranges is not None or is_fake_quantized(model)
        if quantization.needs_data and not has_ranges:
            raise ValueError(
                f"`quantization={mode!r}` needs `representative_data`. "
                "Received: None. Expected samples of the model's inputs, from "
                "which the ranges of the activations are read. Pass some "
                "hundred samples of the training data, preprocessed as for "
                "training."
            )
        return None
    parts = list(sample_batches(model, data, "representative_data", 1 << 30))
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _check_rounding(model, mode):
    """Raises `ValueError` if a model of `fake_quantize` cannot be exported."""
    bits = rounded_bits(model)
    if bits is not None and (mode, bits) != ("int8", 8):
        raise ValueError(
            f"Model '{model.name}' rounds already. Received: quantization="
            f"{mode!r} for a model of `fake_quantize` with bits={bits}. "
            "Expected 'int8' and 8 bits: TensorFlow's converter takes no other "
            "ranges. Export the model that was rounded, with "
            "`representative_data`."
        )
