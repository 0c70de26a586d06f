"""TFLite files of integers, whose ranges are ours."""

import dataclasses
import warnings

import numpy as np

from keras_rep import graph
from keras_rep.errors import DeployError
from keras_rep.export.conversion import convert
from keras_rep.program import Program
from keras_rep.quantize.bias_correction import correct_bias
from keras_rep.quantize.calibration import calibrate
from keras_rep.quantize.checks import check_ranges
from keras_rep.quantize.equalization import equalize
from keras_rep.quantize.fake_quantization import (
    Form,
    is_fake_quantized,
    read_form,
)
from keras_rep.quantize.file_checks import (
    check_kernels,
    check_scales,
    float_operations,
    largest_deviations,
)
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.repairing import repair
from keras_rep.quantize.sites import find_sites
from keras_rep.runtime import TFLiteRunner


def make_form(model, data, ranges, per_tensor):
    """Finds what to make an integer file from.

    Args:
        model: A built `keras.Model`.
        data: Samples in the structure of its inputs, or `None`.
        ranges: Ranges that a user gives, or `None`.
        per_tensor: Whether each kernel has one scale.

    Returns:
        A `keras_rep.quantize.fake_quantization.Form`.

    Raises:
        ValueError: If ranges or data do not fit, or are missing.
        DeployError: If the model cannot be deployed.
    """
    if is_fake_quantized(model):
        if ranges is not None or data is not None:
            raise ValueError(
                "The model has ranges already. Received: a model of "
                "`fake_quantize`, and other ranges or data. Expected the model "
                "alone. Leave `ranges` and `representative_data` out."
            )
        form = read_form(model)
        return dataclasses.replace(
            form, per_tensor=form.per_tensor or per_tensor
        )
    if ranges is not None:
        prepared = prepare(model)
        check_ranges(ranges, find_sites(Program(prepared)))
        return Form(prepared, ranges, per_tensor)
    prepared = repair(model, data)
    if per_tensor:
        # Without caps: biases that are corrected make up for what those would
        # gain, and an NPU may spend more on them than on the convolutions.
        prepared = equalize(prepared, caps=False)
        prepared = correct_bias(prepared, data, weights="per_tensor")
    return Form(prepared, calibrate(prepared, data), per_tensor)


def convert_form(form, quantization, samples, names, batch_size):
    """Converts a form, and checks that the file has its scales.

    Args:
        form: A `Form`.
        quantization: A `keras_rep.export.quantization.Quantization`.
        samples: List of arrays, one for each input, or `None`.
        names: List of names for the outputs.
        batch_size: Number of samples that the file takes at once.

    Returns:
        The bytes of a TFLite file, and whether its ranges are those of the
        form. They are not where TFLite computes a layer by operations that
        have none; then TensorFlow's converter calibrates, with a warning.

    Raises:
        DeployError: If the model cannot be converted, or if the file is not
            what was asked for.
    """
    chosen = dataclasses.replace(quantization, per_tensor=form.per_tensor)
    options = {
        "batch_size": batch_size,
        "quantization": dataclasses.asdict(chosen),
    }
    content = convert(
        form.model,
        "integer_converter",
        names,
        ranges=form.ranges,
        float_layers=list(form.float_layers),
        **options,
    )
    runner = TFLiteRunner(content)
    remaining = float_operations(runner)
    if remaining and not form.float_layers:
        shown = ", ".join(f"'{name}'" for name in remaining[:5])
        if samples is None:
            raise DeployError(
                f"The file of model '{form.model.name}' would compute in "
                f"floating point. Received: real numbers in {shown}. Expected "
                "layers whose every operation has a range. Pass "
                "`representative_data` instead of ranges, or name the layers "
                "in `fake_quantize(..., skip=[...])`."
            )
        warnings.warn(
            f"TFLite computes {shown} by operations that have no ranges here. "
            "So TensorFlow's converter calibrates the file by itself, by the "
            "extremes of the data. Replace the layer to keep the ranges.",
            stacklevel=3,
        )
        content = convert(
            form.model,
            "tflite_converter",
            names,
            samples,
            select_ops=False,
            **options,
        )
        return content, False
    check_scales(
        runner,
        form.model,
        form.ranges,
        is_partly_float=bool(remaining),
    )
    if form.per_tensor:
        check_kernels(runner)
    return content, True


def check_operations(content, form, samples):
    """Compares each operation of a file with the layer that it stands for.

    Args:
        content: The bytes of the file.
        form: The `Form` that it was made from.
        samples: List of arrays, one for each input, or `None` for random ones.

    Raises:
        DeployError: If an operation is off by more than the last bit.
    """
    names = graph.input_names(form.model)
    if samples is None:
        generator = np.random.default_rng(0)
        samples = [
            generator.uniform(low, high, (1, *spec.shape[1:]))
            for low, high, spec in (
                (*form.ranges.get(name, (0, 1)), spec)
                for name, spec in zip(names, form.model.inputs, strict=True)
            )
        ]
    inputs = {
        name: array[:1].astype(spec.dtype)
        for name, array, spec in zip(
            names, samples, form.model.inputs, strict=True
        )
    }
    runner = TFLiteRunner(content, delegates=False, keeps_tensors=True)
    found = largest_deviations(
        runner,
        form.model,
        form.ranges,
        inputs,
        per_tensor=form.per_tensor,
        float_layers=form.float_layers,
    )
    wrong = {name: value for name, value in found.items() if value > 1}
    if wrong:
        raise DeployError(
            f"The file of model '{form.model.name}' computes something else. "
            f"Received: integers that differ by {wrong} from what the layers "
            "return. Expected at most 1. Please report it, with the model; "
            "`verify=False` exports it all the same."
        )
