"""The calls of a model's graph, as rules see them, and what became of them."""

import dataclasses
from typing import Any

import keras

from keras_rep.cloning import given_values


@dataclasses.dataclass
class Emission:
    """A call in the new graph.

    Attributes:
        operation: The new layer or operation.
        args: Its positional arguments, tensors of the new graph.
        source: The original operation that it stands for.
    """

    operation: Any
    args: tuple
    source: Any


@dataclasses.dataclass
class Outcome:
    """What became of one layer of the original model.

    Attributes:
        path: Its name, behind those of the models and layers that hold it.
        layer: The original layer.
        input_shapes: Shape of its first input, for each of its calls.
        layers: The new layers; none if it dissolved into another one.
        rule: Name of the rule that rewrote it, if one did.
        reasons: Why rules refused it.
        remarks: What rules say of the result.
    """

    path: str
    layer: keras.Layer
    input_shapes: list = dataclasses.field(default_factory=list)
    layers: list = dataclasses.field(default_factory=list)
    rule: str | None = None
    reasons: list = dataclasses.field(default_factory=list)
    remarks: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Call:
    """A call of the original graph, its arguments already in the new one.

    Attributes:
        operation: The original layer or operation; never to be changed.
        args: Positional arguments, with tensors of the new graph.
        kwargs: Keyword arguments, with tensors of the new graph.
        replay: The replay under way.
    """

    operation: Any
    args: tuple
    kwargs: dict
    replay: Any

    @property
    def is_pinned_to_training(self):
        """Whether the call says `training=True`, so always uses the batch."""
        return self.kwargs.get("training") is True

    @property
    def is_only_call(self):
        """Whether the operation is called once in the whole graph."""
        return self.replay.call_counts[id(self.operation)] == 1

    def producer(self, tensor):
        """The `Emission` behind a tensor of the new graph, or `None`."""
        return self.replay.emissions.get(id(tensor))

    def is_only_user_of(self, operation):
        """Whether this operation gets every output of another original one."""
        return self.replay.users[id(operation)] == {id(self.operation)}

    def once(self, make, *keys):
        """The result of `make()`, made once for the given original operations.

        So a layer that is called n times becomes one layer called n times.
        """
        return self.replay.once(make, *keys)

    def emit(self, layer, *args, weights, source=None):
        """Calls a new layer in the new graph.

        Args:
            layer: The layer. Its first call builds it.
            *args: Its inputs, tensors of the new graph.
            weights: Function that returns the weights to build it with, in
                the order of `layer.weights`.
            source: Original operation that it stands for; by default the one
                of this call.

        Returns:
            The output tensors.
        """
        source = source or self.operation
        if layer.built:
            return self.replay.emit(layer, args, {}, source)
        with given_values(layer, weights()):
            return self.replay.emit(layer, args, {}, source)

    def remark(self, text):
        """Notes for the report what a user should know of the result."""
        self.replay.outcomes[id(self.operation)].remarks.append(text)

    def becomes(self, layers):
        """Notes for the report which new layers stand for the original."""
        self.replay.outcomes[id(self.operation)].layers = list(layers)

    def replaces(self, producer, layer):
        """Notes for the report that a new layer supersedes another one.

        Args:
            producer: `Emission` of the superseded layer.
            layer: The layer that stands in its place.
        """
        layers = self.replay.outcomes[id(producer.source)].layers
        if producer.operation in layers:
            layers[layers.index(producer.operation)] = layer
