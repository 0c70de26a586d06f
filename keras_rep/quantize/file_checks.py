"""Whether an integer file holds what was asked for."""

import re

import keras
import numpy as np

from keras_rep.errors import DeployError
from keras_rep.program import Program
from keras_rep.quantize.scales import Scale
from keras_rep.quantize.sites import find_sites, scales_of, scopes_of
from keras_rep.quantize.weights import rounded_kernels
from keras_rep.running import run

# How far a scale in a file, a float32 number, may be from the one asked for.
SCALE_TOLERANCE = 2e-6


def float_operations(runner):
    """Names of the tensors inside a file that hold real numbers.

    Args:
        runner: A `keras_rep.runtime.TFLiteRunner`.
    """
    outputs = set(runner.output_tensors)
    return [
        name
        for name, (dtype, *_) in runner.tensor_parameters.items()
        if dtype.kind == "f" and name not in outputs
    ]


def file_tensors(runner, program):
    """Which tensors of a file are those of a prepared model.

    Args:
        runner: A `keras_rep.runtime.TFLiteRunner` with a file of
            `keras_rep.export.integer_converter`.
        program: The program of the model.

    Returns:
        Dictionary from `keras_rep.calls.Tensor` to names. What the converter
        merged with the operation behind it is not in it.
    """
    calls = {scope: call for call, scope in scopes_of(program).items()}
    found = {}
    for name in runner.tensor_parameters:
        # The last operation of those that were merged comes first.
        scope = re.match(r"[^/;]+", name)
        call = calls.get(scope.group()) if scope else None
        if call is not None and len(call.outputs) == 1:
            found[call.output] = name
    return found


def check_scales(runner, model, ranges, is_partly_float=False):
    """Compares the scales in a file with those asked for.

    Args:
        runner: A `keras_rep.runtime.TFLiteRunner`.
        model: The prepared model.
        ranges: Dictionary from the names of sites to ranges.
        is_partly_float: Whether some tensors may hold real numbers.

    Raises:
        DeployError: If one differs, or is not to be found.
    """
    program = Program(model)
    names = file_tensors(runner, program)
    parameters = runner.tensor_parameters
    for site in find_sites(program).values():
        if not site.fixed and site.name not in ranges:
            continue
        low, high = site.fixed or ranges[site.name]
        asked = Scale.of(low, high)
        for tensor in site.tensors:
            if tensor not in names:
                continue
            dtype, step, zero_point = parameters[names[tensor]]
            if is_partly_float and dtype.kind == "f":
                continue
            error = abs(step / asked.step - 1)
            if error > SCALE_TOLERANCE or zero_point != asked.zero_point:
                raise DeployError(
                    f"The file does not have the range of '{site.name}'. "
                    f"Received: scale {step:.7g} and zero point {zero_point}. "
                    f"Expected {asked.step:.7g} and {asked.zero_point}. Please "
                    "report it, with the model."
                )


def check_kernels(runner):
    """Raises `DeployError` if a kernel has scales that differ."""
    for name, scales in runner.kernel_scales.items():
        if len(set(scales.tolist())) > 1:
            raise DeployError(
                f"The file has a kernel with a scale for each channel. "
                f"Received: {len(scales)} scales for '{name}'. Expected one, "
                "as `per_tensor=True` demands. Please report it, with the "
                "model."
            )


def largest_deviations(
    runner, model, ranges, inputs, *, per_tensor=False, float_layers=()
):
    """Compares each operation of a file with the layer that it stands for.

    Both get the numbers that the file has in front of the operation, so that
    the rounding of others does not count.

    Args:
        runner: A `keras_rep.runtime.TFLiteRunner` that keeps its tensors.
        model: The prepared model.
        ranges: Dictionary from the names of sites to ranges.
        inputs: Dictionary from the names of the inputs to arrays of samples.
        per_tensor: Whether each kernel has one scale.
        float_layers: Names of the layers whose weights are real numbers.

    Returns:
        Dictionary from the names of layers to the largest difference, in
        integers of the file.
    """
    program = Program(model)
    names = file_tensors(runner, program)
    received = runner.tensors(inputs)
    scales = scales_of(program, ranges)
    found: dict[str, int] = {}

    def watch(_, tensor, value):
        scale, name = scales.get(tensor), names.get(tensor)
        if scale is None:
            return value
        value = keras.ops.convert_to_numpy(value)
        if tensor.producer is None:
            return scale.rounded(value).astype("float32")
        if name is None:
            # The converter left it out: the mean of one pixel, for example.
            return value
        error = np.abs(received[name] - scale.rounded(value)).max()
        layer = tensor.producer.layer.name
        steps = round(float(error) / scale.step)
        found[layer] = max(found.get(layer, 0), steps)
        return received[name].astype("float32")

    order = [layer.name for layer in program.input_layers]
    rounded = rounded_kernels(model, per_tensor, float_layers)
    mapping = [
        (
            variable,
            keras.ops.convert_to_tensor(rounded.get(id(variable), variable)),
        )
        for variable in model.variables
    ]
    with keras.StatelessScope(state_mapping=mapping):
        run(program, [inputs[name] for name in order], watch)
    return found
