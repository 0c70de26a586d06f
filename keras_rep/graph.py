"""Tracing Keras models into graphs, and replaying graphs through rules.

This is the only module that touches Keras' private graph attributes.

A replay walks the calls of a model in order and builds a second model from
them. Every call is first offered to the rules; one that no rule takes is
repeated on a copy of its layer. Because a rule may look upstream, at the new
graph built so far, one walk reaches the fixpoint.
"""

import collections
import contextlib
import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_rep.errors import DeployError, Skip


def is_functional(layer):
    """Whether a layer is a model whose graph Keras knows."""
    owner = next(cls for cls in type(layer).__mro__ if "call" in vars(cls))
    if owner.__module__.partition(".")[0] != "keras":
        return False
    if isinstance(layer, keras.Sequential):
        return layer._functional is not None
    return hasattr(layer, "_nodes_by_depth")


def contains(layer, layer_type):
    """Whether a layer of the given type lies anywhere inside a layer."""
    inside = layer._flatten_layers(include_self=False)
    return any(isinstance(inner, layer_type) for inner in inside)


@contextlib.contextmanager
def trace(layer, args, kwargs):
    """Yields a functional model of a layer's `call`.

    Args:
        layer: A built layer or model.
        args: Its positional arguments, structures with KerasTensors.
        kwargs: Its keyword arguments, likewise.

    Raises:
        DeployError: If `call` does something that Keras cannot trace.
    """
    marks = [
        (inner, len(inner._inbound_nodes), len(inner._outbound_nodes))
        for inner in layer._flatten_layers()
    ]
    args, kwargs = tree.map_structure(_symbol_like, (args, kwargs))
    symbols = [x for x in tree.flatten((args, kwargs)) if _is_symbol(x)]
    single = len(args) == 1 and len(symbols) == len(tree.flatten(args))
    try:
        try:
            outputs = layer.call(*args, **kwargs)
            model = keras.Model(args[0] if single else symbols, outputs)
        except Exception as error:
            raise DeployError(
                f"Cannot trace '{layer.name}' (of type "
                f"{type(layer).__name__}). Received from its `call` on "
                f"symbolic inputs: {type(error).__name__}: {error}. Expected a "
                "`call` made of Keras layers and `keras.ops`. Replace numpy "
                "and the backend's own functions in it."
            ) from error
        yield model
    finally:
        # Tracing must leave no mark on the layers of the model.
        for inner, inbound, outbound in marks:
            del inner._inbound_nodes[inbound:]
            del inner._outbound_nodes[outbound:]


@contextlib.contextmanager
def functional(model):
    """Yields the functional form of any Keras model.

    Raises:
        DeployError: If the model was never built, or cannot be traced.
    """
    if is_functional(model):
        yield getattr(model, "_functional", model)
        return
    shapes = model.get_build_config() if model.built else None
    if not shapes or "input_shape" not in shapes:
        raise DeployError(
            f"Model '{model.name}' has no known input shape. Received: a model "
            "that was not built, or whose `call` takes several arguments. "
            "Expected one that was called on a tensor, list or dictionary. "
            "Call it once on a batch of data."
        )
    specs = tree.map_shape_structure(
        lambda shape: keras.KerasTensor((None, *shape[1:]), model.input_dtype),
        shapes["input_shape"],
    )
    for path, spec in tree.flatten_with_path(specs):
        # Keras wants the inputs in a dictionary to bear the names of its keys.
        key = "_".join(map(str, path))
        is_dict = isinstance(specs, dict)
        spec.name = key if is_dict else "_".join(filter(None, ["input", key]))
    with trace(model, (specs,), {}) as traced:
        yield traced


def input_specs(model):
    """Structure of KerasTensors with the shapes and dtypes of a model's inputs.

    Raises:
        DeployError: If the model was never built, or cannot be traced.
    """
    with functional(model) as graph:
        return tree.map_structure(lambda tensor: tensor, graph._inputs_struct)


def output_names(model):
    """A name for each output of a model: its key, or else that of its layer.

    Raises:
        DeployError: If the model was never built, or cannot be traced.
    """
    with functional(model) as graph:
        paths = tree.flatten_with_path(graph._outputs_struct)
        layers = [tensor._keras_history.operation for tensor in graph.outputs]
    scope = _Scope()
    return [
        scope.claim("_".join(map(str, path)), object())
        if path and isinstance(path[-1], str)
        else scope.claim(layer.name, object())
        for (path, _), layer in zip(paths, layers, strict=True)
    ]


def compute_dtypes(model):
    """The dtypes in which the layers of a model compute."""
    return {layer.compute_dtype for layer in model._flatten_layers()}


def _is_symbol(value):
    return isinstance(value, keras.KerasTensor)


def _symbol_like(value):
    if not _is_symbol(value):
        return value
    return keras.Input(
        batch_shape=value.shape, dtype=value.dtype, name=value.name
    )


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
    """

    path: str
    layer: keras.Layer
    input_shapes: list = dataclasses.field(default_factory=list)
    layers: list = dataclasses.field(default_factory=list)
    rule: str | None = None
    reasons: list = dataclasses.field(default_factory=list)


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
    replay: "Replay"

    @property
    def is_pinned_to_training(self):
        """Whether the call says `training=True`, so always uses the batch."""
        return self.kwargs.get("training") is True

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

    def emit(self, layer, *args, source=None, initialize=None):
        """Calls a new layer in the new graph.

        Args:
            layer: The layer.
            *args: Its inputs, tensors of the new graph.
            source: Original operation that it stands for; by default the one
                of this call.
            initialize: Function that sets the layer's weights, called with
                the layer after its first call.

        Returns:
            The output tensors.
        """
        source = source or self.operation
        return self.replay.emit(layer, args, {}, source, initialize)

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
    """

    def __init__(self, rules, opens, progress=lambda: None, dtype=None):
        self.rules = rules
        self.opens = opens
        self.progress = progress
        self.dtype = dtype
        self.emissions = {}
        self.outcomes = {}
        self.users = collections.defaultdict(set)
        self._memo = {}
        self._emitted = {}
        self._path = []
        self._scope = _Scope()

    def rebuild(self, model):
        """Replays a model into a new one of plain graph.

        Args:
            model: Functional, sequential or subclassed model.

        Returns:
            A functional or sequential model with the same inputs, outputs and
            layer names.
        """
        with functional(model) as graph:
            new = {}
            for tensor in graph.inputs:
                source = tensor._keras_history.operation
                layer = _copy(source, self.dtype)
                self._scope.claim(layer.name, source)
                new[id(tensor)] = layer.output
            outputs = self._walk(graph, new)
            if is_functional(model):
                outputs = tree.map_structure(
                    self._keep_name, graph._outputs_struct, outputs
                )
            inputs = tree.map_structure(
                lambda tensor: new[id(tensor)], graph._inputs_struct
            )
        result = keras.Model(
            inputs, outputs, name=model.name, trainable=model.trainable
        )
        if isinstance(model, keras.Sequential):
            return _as_sequential(result)
        return result

    def once(self, make, *keys):
        key = tuple(map(id, keys))
        if key not in self._memo:
            # The operations go along, so that their ids stay theirs.
            self._memo[key] = (make(), keys)
        return self._memo[key][0]

    def emit(self, layer, args, kwargs, source, initialize=None):
        first = id(layer) not in self._emitted
        if first:
            self._emitted[id(layer)] = layer
            layer.name = self._scope.claim(layer.name, source)
        with _zero_initializers(layer if initialize else None):
            outputs = layer(*args, **kwargs)
        if first and initialize:
            initialize(layer)
        for output in tree.flatten(outputs):
            self.emissions[id(output)] = Emission(layer, args, source)
        return outputs

    def _walk(self, graph, new):
        """Replays the calls of a functional model.

        Args:
            graph: The functional model.
            new: Dictionary from the ids of its tensors to new tensors, with
                its inputs already in it.

        Returns:
            The structure of its outputs, in the new graph.
        """
        nodes = [
            node
            for depth in sorted(graph._nodes_by_depth, reverse=True)
            for node in graph._nodes_by_depth[depth]
            if not node.is_input
        ]
        for node in nodes:
            for tensor in node.input_tensors:
                producer = tensor._keras_history.operation
                self.users[id(producer)].add(id(node.operation))
        for tensor in graph.outputs:
            self.users[id(tensor._keras_history.operation)].add("output")
        for node in nodes:
            self.progress()
            args, kwargs = node.arguments.fill_in(new)
            outputs = self._replay(Call(node.operation, args, kwargs, self))
            for tensor, output in zip(
                node.outputs, tree.flatten(outputs), strict=True
            ):
                new[id(tensor)] = output
        return tree.map_structure(
            lambda tensor: new[id(tensor)], graph._outputs_struct
        )

    def _replay(self, call):
        """Returns the new outputs of one call of the original graph."""
        operation = call.operation
        is_layer = isinstance(operation, keras.Layer)
        outcome = self._outcome(call) if is_layer else None
        for rule in self.rules:
            try:
                outputs = rule(call)
            except Skip as skip:
                if outcome and skip.reason not in outcome.reasons:
                    outcome.reasons.append(skip.reason)
                continue
            if outputs is not None:
                if outcome:
                    outcome.rule = rule.__name__
                return outputs
        if is_layer and call.is_pinned_to_training:
            if contains(operation, self.opens):
                outcome.reasons.append("it is called with `training=True`")
        elif is_layer and is_functional(operation):
            return self._call_nested(call)
        elif is_layer and contains(operation, self.opens):
            return self._open(call)
        copy = self.once(lambda: _copy(operation, self.dtype), operation)
        if not is_layer:
            return self.emit(copy, call.args, call.kwargs, operation)
        outcome.layers = [copy]
        return self.emit(
            copy,
            call.args,
            call.kwargs,
            operation,
            lambda layer: _copy_weights(operation, layer),
        )

    def _outcome(self, call):
        layer = call.operation
        path = "/".join([*self._path, layer.name])
        outcome = self.outcomes.setdefault(id(layer), Outcome(path, layer))
        first = next(filter(_is_symbol, tree.flatten(call.args)))
        outcome.input_shapes.append(first.shape)
        return outcome

    def _call_nested(self, call):
        """Replays a nested model once, and calls the result."""
        operation = call.operation
        del self.outcomes[id(operation)]

        def rebuild():
            with self._inside(operation, _Scope()):
                return self.rebuild(operation)

        model = self.once(rebuild, operation)
        return self.emit(model, call.args, call.kwargs, operation)

    def _open(self, call):
        """Replays the inside of a composite layer in place of its call."""
        operation = call.operation
        del self.outcomes[id(operation)]
        arguments = [
            x
            for x in tree.flatten((call.args, call.kwargs))
            if _is_symbol(x)
        ]
        scope = dataclasses.replace(
            self._scope, prefix=f"{self._scope.prefix}{operation.name}_"
        )
        with (
            self._inside(operation, scope),
            trace(operation, call.args, call.kwargs) as graph,
        ):
            new = {
                id(tensor): argument
                for tensor, argument in zip(
                    graph.inputs, arguments, strict=True
                )
            }
            return self._walk(graph, new)

    @contextlib.contextmanager
    def _inside(self, operation, scope):
        outer, self._scope = self._scope, scope
        self._path.append(operation.name)
        try:
            yield
        finally:
            self._path.pop()
            self._scope = outer

    def _keep_name(self, old, new):
        """Ends in a layer of the old name, which is the output's name."""
        source = old._keras_history.operation
        operation = new._keras_history.operation
        if operation.name == source.name:
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


def _copy(operation, dtype=None):
    """A new layer or operation of the same configuration.

    Args:
        operation: The original layer or operation.
        dtype: Dtype policy of the new layer, unless it computes integers.
    """
    try:
        config = operation.get_config()
        computes_floats = "float" in getattr(operation, "compute_dtype", "")
        if dtype and computes_floats:
            config["dtype"] = dtype
        return type(operation).from_config(config)
    except Exception as error:
        raise DeployError(
            f"Cannot copy layer '{operation.name}' (of type "
            f"{type(operation).__name__}). Received from its configuration: "
            f"{type(error).__name__}: {error}. Expected `get_config` to return "
            "every argument of `__init__`. Implement it in the layer's class."
        ) from error


def _copy_weights(old, new):
    """Copies weights the way saving does, so that layers can react to them."""
    pairs = zip(old._flatten_layers(), new._flatten_layers(), strict=True)
    for source, target in pairs:
        store = {}
        source.save_own_variables(store)
        if store:
            # Real copies, because JAX's trainer gives away a model's arrays.
            values = {
                key: np.array(ops.convert_to_numpy(value))
                for key, value in store.items()
            }
            target.load_own_variables(values)


@contextlib.contextmanager
def _zero_initializers(layer):
    """Lets a layer that is about to get its weights be built with zeros.

    Drawing the initial values of a large model takes longer than deploying it.
    """
    swapped = {}
    if layer is not None and not layer.built:
        for name, value in vars(layer).items():
            if isinstance(value, keras.initializers.Initializer):
                swapped[name] = value
    for name in swapped:
        setattr(layer, name, keras.initializers.Zeros())
    try:
        yield
    finally:
        for name, value in swapped.items():
            setattr(layer, name, value)


def _as_sequential(model):
    """The same layers as a `Sequential`, if they form a chain."""
    first, *rest = model.operations
    tensor = first.output
    for operation in rest:
        nodes = operation._inbound_nodes
        is_layer = isinstance(operation, keras.Layer)
        if not is_layer or len(nodes) != 1 or nodes[0].input_tensors != [tensor]:
            return model
        tensor = nodes[0].outputs[0]
    for operation in rest:
        # Else every layer would seem to be called twice, and `layer.output`
        # would be ambiguous.
        operation._inbound_nodes.clear()
        operation._outbound_nodes.clear()
    first._outbound_nodes.clear()
    return keras.Sequential(
        [first, *rest], name=model.name, trainable=model.trainable
    )
