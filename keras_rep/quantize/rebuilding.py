"""Building a model anew, layer by layer, with others in their places."""

import keras
from keras import tree

from keras_rep.cloning import copy_operation, copy_weights
from keras_rep.running import run


def rebuild(program, copy, behind=None):
    """Builds a flat functional model like that of a program.

    Args:
        program: The `keras_rep.program.Program` of a model.
        copy: Function from a layer or operation to what takes its place: a new
            layer, which gets its weights, or a function.
        behind: Dictionary from tensors to layers that are called on them.

    Returns:
        The new model.
    """
    behind = behind or {}
    copies: dict = {}

    def compute(call, args, kwargs):
        layer = call.layer
        new = copies.get(id(layer))
        if new is not None:
            return new(*args, **kwargs)
        new = copies[id(layer)] = copy(layer)
        outputs = new(*args, **kwargs)
        if isinstance(new, keras.Layer):
            copy_weights(layer, new)
        return outputs

    def watch(_, tensor, value):
        layer = behind.get(tensor)
        return value if layer is None else layer(value)

    inputs = [copy_operation(layer).output for layer in program.input_layers]
    outputs = iter(run(program, inputs, watch, compute))
    # In the order in which `run` flattens them.
    structure = tree.map_structure(lambda _: next(outputs), program.outputs)
    given = iter(inputs)
    return keras.Model(
        tree.map_structure(lambda _: next(given), program.inputs),
        structure,
        name=program.model.name,
    )
