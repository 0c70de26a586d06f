"""Runs a program call by call, in inference mode."""

import inspect

from keras import tree

from keras_rep.calls import is_tensor


def compute_call(call, args, kwargs):
    """What a call returns in inference mode.

    Args:
        call: A `keras_rep.calls.Call`.
        args: Its positional arguments, with values for tensors.
        kwargs: Its keyword arguments, likewise.
    """
    layer = call.layer
    if "training" in inspect.signature(layer.call).parameters:
        kwargs = {**kwargs, "training": False}
    return layer(*args, **kwargs)


def run(program, inputs, watch, compute=compute_call):
    """Computes a program, and lets its values be looked at or replaced.

    Args:
        program: The `keras_rep.program.Program`.
        inputs: Flat list of arrays or tensors.
        watch: Function of a program, a `keras_rep.calls.Tensor` of it and its
            value; what it returns takes the place of the value.
        compute: Function in place of `compute_call`.

    Returns:
        Flat list of the outputs.
    """
    tensors = tree.flatten(program.inputs)
    values = {
        tensor: watch(program, tensor, value)
        for tensor, value in zip(tensors, inputs, strict=True)
    }

    def read(x):
        return values[x] if is_tensor(x) else x

    for call in program.calls():
        if call.body is not None:
            given = [values[x] for x in call.inputs]
            outputs = run(call.body, given, watch, compute)
        else:
            args, kwargs = tree.map_structure(read, (call.args, call.kwargs))
            outputs = tree.flatten(compute(call, args, kwargs))
        for tensor, value in zip(call.outputs, outputs, strict=True):
            values[tensor] = watch(program, tensor, value)
    return [values[x] for x in tree.flatten(program.outputs)]
