"""The calls of a model in one list, with what lies inside of others opened."""

import contextlib
import dataclasses
from typing import Any

import keras
from keras import tree

from keras_rep import graph
from keras_rep.errors import DeployError
from keras_rep.layers import RepLayer


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of a layer or operation, or an input of the model.

    Attributes:
        layer: The layer or operation.
        path: Its name, behind those of the models and layers that hold it.
        sources: For each input, the index of the step that it comes from.
        args: Positional arguments, with KerasTensors.
        kwargs: Keyword arguments, likewise.
        outputs: List of KerasTensors.
    """

    layer: Any
    path: str
    sources: tuple[int, ...]
    args: tuple
    kwargs: dict
    outputs: list

    @property
    def inputs(self):
        """The KerasTensors among the arguments."""
        return _symbols(self.args, self.kwargs)


@dataclasses.dataclass(frozen=True)
class Flow:
    """All steps of a model, each behind those that it depends on.

    Attributes:
        steps: List of `Step`, the inputs in front.
        ends: Indices of the steps that return the model's outputs.
    """

    steps: list
    ends: list

    def depth(self, lengths):
        """The length of the longest path.

        Args:
            lengths: A number for each step.
        """
        depths: list[int] = []
        for step, length in zip(self.steps, lengths, strict=True):
            before = max((depths[i] for i in step.sources), default=0)
            depths.append(before + length)
        return max(depths, default=0)


def is_atom(layer):
    """Whether a layer or operation is one thing, not made of layers."""
    if isinstance(layer, RepLayer) or not isinstance(layer, keras.Layer):
        return True
    return len(list(graph.sublayers(layer))) == 1


def read_model(model, is_whole=is_atom):
    """Reads a model as a `Flow`.

    Args:
        model: A built `keras.Model`.
        is_whole: Whether to leave a layer closed, a function of it.

    Raises:
        DeployError: If the model cannot be traced.
    """
    with graph.read(model) as old:
        return _read(old, is_whole)


def read_call(step):
    """Reads what one call of a layer or model does, as a `Flow`.

    Raises:
        DeployError: If its `call` cannot be traced.
    """
    with _inside(step.layer, step.args, step.kwargs) as old:
        return _read(old, is_atom)


def _read(old, is_whole):
    inputs = tree.flatten(old.inputs)
    steps = [
        Step(graph.producer(x), graph.producer(x).name, (), (), {}, [x])
        for x in inputs
    ]
    origins = {id(x): index for index, x in enumerate(inputs)}
    return Flow(steps, _follow(old, origins, (), steps, is_whole))


def _follow(old, origins, scope, steps, is_whole):
    """Adds the calls of a graph to the steps.

    Args:
        old: The `keras_rep.graph.Graph`.
        origins: Indices of steps by the ids of the tensors that they return,
            with the graph's inputs already in it.
        scope: Names of the models and layers around it.
        steps: List of `Step`, to add to.
        is_whole: As for `read_model`.

    Returns:
        For each output of the graph, the index of its step.
    """
    for node in old.nodes:
        layer = node.operation
        args, kwargs = node.fill_in({id(x): x for x in node.inputs})
        sources = [origins[id(x)] for x in _symbols(args, kwargs)]
        with contextlib.ExitStack() as stack:
            inner = None
            if not (is_whole(layer) or is_atom(layer)):
                inner = _opened(stack, layer, args, kwargs)
            if graph.operation_name(layer) == "ConvertToTensor":
                # A functional model calls it on its inputs; it does nothing.
                ends = sources
            elif inner is None:
                ends = [len(steps)] * len(node.outputs)
                path = "/".join([*scope, layer.name])
                outputs = node.outputs
                steps.append(
                    Step(layer, path, tuple(sources), args, kwargs, outputs)
                )
            else:
                pairs = zip(tree.flatten(inner.inputs), sources, strict=True)
                own = {id(x): index for x, index in pairs}
                scopes = (*scope, layer.name)
                ends = _follow(inner, own, scopes, steps, is_whole)
        pairs = zip(node.outputs, ends, strict=True)
        origins |= {id(x): index for x, index in pairs}
    return [origins[id(x)] for x in tree.flatten(old.outputs)]


def _opened(stack, layer, args, kwargs):
    """The graph of a call, or `None` where it cannot be traced."""
    try:
        return stack.enter_context(_inside(layer, args, kwargs))
    except DeployError:
        return None


@contextlib.contextmanager
def _inside(layer, args, kwargs):
    """Yields the graph of a call, for the sizes that the call has.

    A model has a graph already, but maybe of sizes that it leaves open.
    """
    with contextlib.ExitStack() as stack:
        if graph.is_functional(layer):
            own = stack.enter_context(graph.read(layer))
            given = _symbols(args, kwargs)
            if _sizes(tree.flatten(own.inputs)) == _sizes(given):
                yield own
                return
        yield stack.enter_context(graph.trace(layer, args, kwargs))


def _sizes(tensors):
    return [tensor.shape[1:] for tensor in tensors]


def _symbols(args, kwargs):
    return list(filter(graph.is_symbol, tree.flatten((args, kwargs))))
