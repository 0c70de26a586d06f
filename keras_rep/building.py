"""Building a new model out of a program."""

import dataclasses
from typing import Any

import keras
from keras import tree

from keras_rep import graph
from keras_rep.calls import is_tensor
from keras_rep.cloning import (
    copy_operation,
    copy_weights,
    given_values,
    zero_values,
)


def build(program, dtype=None):
    """Builds the model that a program describes.

    Args:
        program: The `keras_rep.program.Program`.
        dtype: Dtype policy of all copied layers; by default their own.

    Returns:
        A functional or sequential model with the inputs, outputs and layer
        names of the original model.
    """
    return _Builder(program, dtype, {}).build()


@dataclasses.dataclass
class _Builder:
    """Builds one model, and those nested in it.

    Args:
        program: The `Program`.
        dtype: Dtype policy of copied layers.
        copies: New layers and models by the ids of those they stand for,
            which nested models share.
    """

    program: Any
    dtype: str | None
    copies: dict

    def build(self):
        program, model = self.program, self.program.model
        self.names = {}
        self.endings = {}
        self.tensors = {}
        inputs = tree.flatten(program.inputs)
        for tensor, layer in zip(inputs, program.input_layers, strict=True):
            copy = copy_operation(layer, self.dtype)
            self._claim(copy, layer, layer.name)
            self.tensors[tensor] = copy.output
        for call in program.calls():
            self._emit(call)
        is_sequential = isinstance(model, keras.Sequential)
        # Losses and metrics may go by the names of the outputs.
        self.keeps_names = graph.is_functional(model) and not (
            is_sequential or program.is_nested
        )
        outputs = tree.map_structure(
            self._end, self._map(program.outputs), program.output_names
        )
        result = keras.Model(
            self._map(program.inputs),
            outputs,
            name=model.name,
            trainable=model.trainable,
        )
        return graph.as_sequential(result) if is_sequential else result

    def _map(self, structure):
        """The structure with Keras' tensors in place of the program's."""
        return tree.map_structure(
            lambda x: self.tensors[x] if is_tensor(x) else x, structure
        )

    def _emit(self, call):
        layer = self._layer(call)
        args, kwargs = self._map((call.args, call.kwargs))
        outcome = self.program.outcomes.get(id(call.source))
        if outcome is not None:
            outcome.emitted += [(layer, x.shape) for x in call.inputs[:1]]
        outputs = self._call(call, layer, args, kwargs)
        pairs = zip(call.outputs, tree.flatten(outputs), strict=True)
        self.tensors |= dict(pairs)

    def _layer(self, call):
        """The layer to call, with its name."""
        original = call.layer
        if id(original) not in self.copies:
            # The original goes along, so that its id stays its own.
            self.copies[id(original)] = self._make(call), original
        layer, _ = self.copies[id(original)]
        name = "_".join([*call.scope, original.name])
        self._claim(layer, original, name)
        return layer

    def _make(self, call):
        if call.is_new:
            if call.layer.built and call.fill is not None:
                call.layer.set_weights(call.fill())
            return call.layer
        if call.body is not None:
            return _Builder(call.body, self.dtype, self.copies).build()
        return copy_operation(call.layer, self.dtype)

    def _call(self, call, layer, args, kwargs):
        """Calls a layer, which gets its weights if this is the first call."""
        if getattr(layer, "built", True):
            return layer(*args, **kwargs)
        if call.fill is not None:
            with given_values(layer, call.fill()):
                return layer(*args, **kwargs)
        with zero_values(layer):
            outputs = layer(*args, **kwargs)
        if not call.is_new:
            copy_weights(call.layer, layer)
        return outputs

    def _end(self, tensor, name):
        """An output: behind a layer of the old name, where that matters.

        A model without a single layer would not work, either.
        """
        layer = graph.producer(tensor)
        is_input = isinstance(layer, keras.layers.InputLayer)
        if layer.name == name or not (self.keeps_names or is_input):
            return tensor
        if name not in self.endings:
            # One for all outputs of the name: those of a shared layer.
            ending = keras.layers.Identity(dtype=tensor.dtype)
            self._claim(ending, ending, name)
            self.endings[name] = ending
        return self.endings[name](tensor)

    def _claim(self, layer, original, name):
        """Gives a layer its name, changed if another one has it already."""
        unique, number = name, 0
        while self.names.setdefault(unique, original) is not original:
            number += 1
            unique = f"{name}_{number}"
        layer.name = unique
