"""Keras models as graphs of calls.

This is the only module that touches Keras' private graph attributes.
"""

import collections
import contextlib
import dataclasses
import inspect
from typing import Any

import keras
from keras import tree

from keras_rep.errors import DeployError


@dataclasses.dataclass(frozen=True)
class Node:
    """One call of an operation.

    Attributes:
        operation: The layer or operation.
        inputs: Tensors among its arguments, each as often as it occurs.
        outputs: Tensors that it returned.
        fill_in: Function from a dictionary, from the ids of tensors to new
            tensors, to the call's arguments with these, `(args, kwargs)`.
        is_pinned: See `is_pinned_to_training`.
    """

    operation: Any
    inputs: list
    outputs: list
    fill_in: Any
    is_pinned: bool


@dataclasses.dataclass(frozen=True)
class Graph:
    """The calls of a model, each behind those that it depends on.

    Attributes:
        nodes: List of `Node`, without the inputs.
        inputs: Structure of KerasTensors.
        outputs: Structure of KerasTensors.
    """

    nodes: list
    inputs: Any
    outputs: Any


def producer(tensor):
    """The operation that returned a tensor."""
    return tensor._keras_history.operation


def is_symbol(value):
    """Whether a value is a tensor of a graph."""
    return isinstance(value, keras.KerasTensor)


def is_functional(layer):
    """Whether a layer is a model whose graph Keras knows."""
    owner = next(cls for cls in type(layer).__mro__ if "call" in vars(cls))
    if owner.__module__.partition(".")[0] != "keras":
        return False
    if isinstance(layer, keras.Sequential):
        return layer._functional is not None
    return hasattr(layer, "_nodes_by_depth")


def is_built_in(operation):
    """Whether an operation's class comes with Keras."""
    return type(operation).__module__.partition(".")[0] == "keras"


def operation_name(operation):
    """The name of an operation of `keras.ops`, such as `"Add"`, or `None`."""
    is_layer = isinstance(operation, keras.Layer)
    is_own = is_layer or not is_built_in(operation)
    return None if is_own else type(operation).__name__


def sublayers(layer):
    """All layers inside a layer, at every depth, and itself in front."""
    return layer._flatten_layers()


def contains(layer, layer_type):
    """Whether a layer of the given type lies inside a layer or operation."""
    if not isinstance(layer, keras.Layer):
        return False
    inside = layer._flatten_layers(include_self=False)
    return any(isinstance(inner, layer_type) for inner in inside)


def is_pinned_to_training(operation, kwargs):
    """Whether a call says `training=True`, so that the layer always acts.

    Where that is the layer's default, as for random augmentation, the graph
    holds it too, but Keras overrules it in inference mode.
    """
    if kwargs.get("training") is not True:
        return False
    parameters = inspect.signature(operation.call).parameters
    return parameters["training"].default is not True


@contextlib.contextmanager
def read(model):
    """Yields the `Graph` of any Keras model.

    Raises:
        DeployError: If the model was never built, or cannot be traced.
    """
    if is_functional(model):
        yield _graph(getattr(model, "_functional", model))
        return
    shapes = model.get_build_config() if model.built else None
    if not shapes or "input_shape" not in shapes:
        raise DeployError(
            f"Model '{model.name}' has no known input shape. Received: a model "
            "that was not built, that Keras could not trace, or whose `call` "
            "takes several arguments. Expected one that was called on a "
            "tensor, list or dictionary. Call it once on a batch of data, or "
            "give it a `build(input_shape)` that builds its layers."
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
    with trace(model, (specs,), {}) as graph:
        yield graph


@contextlib.contextmanager
def trace(layer, args, kwargs):
    """Yields the `Graph` of a layer's `call`.

    Args:
        layer: A built layer or model.
        args: Its positional arguments, structures with KerasTensors.
        kwargs: Its keyword arguments, likewise.

    Raises:
        DeployError: If `call` does something that Keras cannot trace, or that
            a graph would do in another way.
    """
    marks = [
        (inner, len(inner._inbound_nodes), len(inner._outbound_nodes))
        for inner in layer._flatten_layers()
    ]
    taken: collections.Counter[str] = collections.Counter()

    def input_like(value):
        if not is_symbol(value):
            return value
        # One tensor may be passed twice.
        taken[value.name] += 1
        number = taken[value.name] - 1
        name = f"{value.name}_{number}" if number else value.name
        return keras.Input(
            batch_shape=value.shape, dtype=value.dtype, name=name
        )

    args, kwargs = tree.map_structure(input_like, (args, kwargs))
    signature = inspect.signature(layer.call)
    given = signature.bind_partial(*args, **kwargs).arguments
    if "training" in signature.parameters and "training" not in given:
        # Its default would be what the layers inside are called with for ever.
        kwargs["training"] = None
    symbols = list(filter(is_symbol, tree.flatten((args, kwargs))))
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
        graph = _graph(model)
        _refuse_pins(layer, graph)
        yield graph
    finally:
        # Tracing must leave no mark on the layers of the model.
        for inner, inbound, outbound in marks:
            del inner._inbound_nodes[inbound:]
            del inner._outbound_nodes[outbound:]


def input_specs(model):
    """Structure of KerasTensors with the shapes and dtypes of a model's inputs.

    Raises:
        DeployError: If the model was never built, or cannot be traced.
    """
    with read(model) as graph:
        return graph.inputs


def input_names(model):
    """The name of each input of a model, in the order of the inputs.

    Raises:
        DeployError: If the model was never built, or cannot be traced.
    """
    with read(model) as graph:
        return [producer(tensor).name for tensor in tree.flatten(graph.inputs)]


def output_names(model):
    """A name for each output of a model: its key, or else that of its layer.

    Raises:
        DeployError: If the model was never built, or cannot be traced.
    """
    names: list[str] = []
    with read(model) as graph:
        for path, tensor in tree.flatten_with_path(graph.outputs):
            is_key = path and isinstance(path[-1], str)
            stem = "_".join(map(str, path)) if is_key else producer(tensor).name
            number = names.count(stem)
            names.append(f"{stem}_{number}" if number else stem)
    return names


def compute_dtypes(model):
    """The dtypes in which the layers of a model compute."""
    return {layer.compute_dtype for layer in sublayers(model)}


def as_sequential(model):
    """The layers of a functional model as a `Sequential`, if they are a chain.

    Args:
        model: A functional model whose layers no other model uses.

    Returns:
        The sequential model, or the given one if it is no chain.
    """
    first, *rest = model.operations
    tensor = first.output
    for operation in rest:
        nodes = operation._inbound_nodes
        if (
            not isinstance(operation, keras.Layer)
            or len(nodes) != 1
            or nodes[0].input_tensors != [tensor]
        ):
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


def _refuse_pins(layer, graph):
    """In a functional model, unlike in a `call`, `training=False` wins."""
    for node in graph.nodes:
        if node.is_pinned:
            raise DeployError(
                f"Cannot trace '{layer.name}' (of type "
                f"{type(layer).__name__}). Received: a `call` that calls "
                f"'{node.operation.name}' with `training=True`. Expected "
                "layers that follow the mode of the model. Take the argument "
                "away, or call that layer outside."
            )


def _graph(model):
    nodes = [
        Node(
            node.operation,
            node.input_tensors,
            node.outputs,
            node.arguments.fill_in,
            is_pinned_to_training(node.operation, node.arguments.kwargs),
        )
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for node in model._nodes_by_depth[depth]
        if not node.is_input
    ]
    return Graph(nodes, model._inputs_struct, model._outputs_struct)
