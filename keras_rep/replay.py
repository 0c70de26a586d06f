"""Replaying the graph of a model through rules.

A replay walks the calls of a model in order and builds a second model from
them. Every call is first offered to the rules; one that no rule takes is
repeated on a copy of its layer. Because a rule may look upstream, at the new
graph built so far, one walk reaches the fixpoint.
"""

import collections
import contextlib
import dataclasses

import keras
from keras import tree

from keras_rep import graph
from keras_rep.calls import Call, Emission, Outcome
from keras_rep.cloning import copy_operation, copy_weights, zero_values
from keras_rep.errors import Skip


class Replay:
    """Builds a new model out of an old one, call by call, through rules.

    Args:
        rules: Functions from a `Call` to its output tensors, or `None` where
            the rule does not fit. A rule raises `Skip` to refuse.
        opens: Layer type. Layers that hold one are opened, so that the rules
            see inside; others are copied as they are.
        progress: Function called before each call of the original graph.
        dtype: Dtype policy of the copied layers; by default their own.

    Attributes:
        outcomes: The `Outcome` of each original layer, by its id.
        emissions: The `Emission` behind each new tensor, by its id.
        users: Ids of the operations that use an original one, by its id.
        call_counts: Number of calls of each original operation, by its id.
    """

    def __init__(self, rules, opens, progress=lambda: None, dtype=None):
        self.rules = rules
        self.opens = opens
        self.progress = progress
        self.dtype = dtype
        self.outcomes = {}
        self.emissions = {}
        self.users = collections.defaultdict(set)
        self.call_counts: collections.Counter[int] = collections.Counter()
        self._memo = {}
        self._emitted = {}
        self._path = []
        self._scope = _Scope()

    def rebuild(self, model):
        """Replays a model into a new one.

        Args:
            model: Functional, sequential or subclassed model.

        Returns:
            A functional or sequential model with the same inputs, outputs and
            layer names.
        """
        new = {}
        with graph.read(model) as old:
            for tensor in tree.flatten(old.inputs):
                source = graph.producer(tensor)
                layer = copy_operation(source, self.dtype)
                self._scope.claim(layer.name, source)
                new[id(tensor)] = layer.output
            outputs = self._walk(old, new)
            is_sequential = isinstance(model, keras.Sequential)
            if graph.is_functional(model) and not (is_sequential or self._path):
                # Losses and metrics may go by the names of the outputs.
                outputs = tree.map_structure(
                    self._keep_name, old.outputs, outputs
                )
            inputs = tree.map_structure(
                lambda tensor: new[id(tensor)], old.inputs
            )
        result = keras.Model(
            inputs, outputs, name=model.name, trainable=model.trainable
        )
        return graph.as_sequential(result) if is_sequential else result

    def once(self, make, *keys):
        """See `Call.once`."""
        key = tuple(map(id, keys))
        if key not in self._memo:
            # The operations go along, so that their ids stay theirs.
            self._memo[key] = (make(), keys)
        return self._memo[key][0]

    def emit(self, layer, args, kwargs, source):
        """Calls a layer or operation in the new graph."""
        if id(layer) not in self._emitted:
            self._emitted[id(layer)] = layer
            layer.name = self._scope.claim(layer.name, source)
        outputs = layer(*args, **kwargs)
        for output in tree.flatten(outputs):
            self.emissions[id(output)] = Emission(layer, args, source)
        return outputs

    def _walk(self, old, new):
        """Replays the calls of a graph.

        Args:
            old: The `Graph`.
            new: Dictionary from the ids of its tensors to new tensors, with
                its inputs already in it.

        Returns:
            The structure of its outputs, in the new graph.
        """
        for node in old.nodes:
            self.call_counts[id(node.operation)] += 1
            for tensor in node.inputs:
                self.users[id(graph.producer(tensor))].add(id(node.operation))
        for tensor in tree.flatten(old.outputs):
            self.users[id(graph.producer(tensor))].add("output")
        for node in old.nodes:
            self.progress()
            args, kwargs = node.fill_in(new)
            outputs = self._replay(Call(node.operation, args, kwargs, self))
            for tensor, output in zip(
                node.outputs, tree.flatten(outputs), strict=True
            ):
                new[id(tensor)] = output
        return tree.map_structure(lambda tensor: new[id(tensor)], old.outputs)

    def _replay(self, call):
        """Returns the new outputs of one call of the original graph."""
        operation = call.operation
        if not isinstance(operation, keras.Layer):
            copy = self.once(
                lambda: copy_operation(operation, self.dtype), operation
            )
            return self.emit(copy, call.args, call.kwargs, operation)
        outcome = self._outcome(call)
        outputs = self._try_rules(call, outcome)
        if outputs is not None:
            return outputs
        opens = graph.contains(operation, self.opens)
        if call.is_pinned_to_training:
            if opens:
                outcome.reasons.append("it is called with `training=True`")
        elif graph.is_functional(operation):
            return self._call_nested(call)
        elif opens:
            return self._open(call)
        return self._call_copy(call, outcome)

    def _try_rules(self, call, outcome):
        for rule in self.rules:
            try:
                outputs = rule(call)
            except Skip as skip:
                if skip.reason not in outcome.reasons:
                    outcome.reasons.append(skip.reason)
                continue
            if outputs is not None:
                outcome.rule = rule.__name__
                return outputs
        return None

    def _outcome(self, call):
        layer = call.operation
        path = "/".join([*self._path, layer.name])
        outcome = self.outcomes.setdefault(id(layer), Outcome(path, layer))
        first = next(filter(graph.is_symbol, tree.flatten(call.args)))
        outcome.input_shapes.append(first.shape)
        return outcome

    def _call_copy(self, call, outcome):
        layer = call.operation
        copy = self.once(lambda: copy_operation(layer, self.dtype), layer)
        outcome.layers = [copy]
        if copy.built:
            return self.emit(copy, call.args, call.kwargs, layer)
        with zero_values(copy):
            outputs = self.emit(copy, call.args, call.kwargs, layer)
        copy_weights(layer, copy)
        return outputs

    def _call_nested(self, call):
        """Replays a nested model once, and calls the result."""
        model = call.operation
        del self.outcomes[id(model)]

        def rebuild():
            with self._inside(model, _Scope()):
                return self.rebuild(model)

        copy = self.once(rebuild, model)
        return self.emit(copy, call.args, call.kwargs, model)

    def _open(self, call):
        """Replays the inside of a composite layer in place of its call."""
        layer = call.operation
        del self.outcomes[id(layer)]
        arguments = filter(
            graph.is_symbol, tree.flatten((call.args, call.kwargs))
        )
        scope = dataclasses.replace(
            self._scope, prefix=f"{self._scope.prefix}{layer.name}_"
        )
        with (
            self._inside(layer, scope),
            graph.trace(layer, call.args, call.kwargs) as old,
        ):
            inputs = tree.flatten(old.inputs)
            pairs = zip(inputs, arguments, strict=True)
            return self._walk(old, {id(x): new for x, new in pairs})

    @contextlib.contextmanager
    def _inside(self, layer, scope):
        outer, self._scope = self._scope, scope
        self._path.append(layer.name)
        try:
            yield
        finally:
            self._path.pop()
            self._scope = outer

    def _keep_name(self, old, new):
        """Ends in a layer of the old name, which is the output's name."""
        source = graph.producer(old)
        if graph.producer(new).name == source.name:
            return new
        identity = keras.layers.Identity(name=source.name, dtype=new.dtype)
        return self.emit(identity, (new,), {}, source)


@dataclasses.dataclass
class _Scope:
    """The layer names of one model, each belonging to an original operation."""

    prefix: str = ""
    names: dict = dataclasses.field(default_factory=dict)

    def claim(self, name, source):
        """Returns the name, changed if another operation has it already."""
        unique = stem = f"{self.prefix}{name}"
        number = 0
        while self.names.setdefault(unique, source) is not source:
            number += 1
            unique = f"{stem}_{number}"
        return unique
