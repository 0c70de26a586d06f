"""Which convolutions of a model a user means."""

import dataclasses
from typing import Any

from keras import layers

from keras_rep import graph
from keras_rep.layers import RepLayer

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which convolutions of a model are wanted.

    Attributes:
        where: The function from a layer to a boolean.
        names: Names of layers instead.
    """

    where: Any = None
    names: frozenset | None = None

    @classmethod
    def of(cls, where):
        """The selection by what a user says.

        Args:
            where: `None`, a function, or a collection of names.

        Raises:
            ValueError: If it is a single name.
        """
        if where is None or callable(where):
            return cls(where)
        if isinstance(where, str):
            raise ValueError(
                f"Invalid value for `where`. Received: where={where!r}. "
                "Expected a function or a collection of layer names. Write "
                f"`where=[{where!r}]`."
            )
        return cls(names=frozenset(where))

    @property
    def is_explicit(self):
        """Whether a user said which."""
        return self != Selection()

    def wants(self, layer, path):
        """Whether a convolution of the model is wanted."""
        if self.names is not None:
            return not self.names.isdisjoint((layer.name, path))
        if self.where is not None:
            return bool(self.where(layer))
        return max(layer.kernel_size) > 1

    def check_names(self, model, paths):
        """Raises if names do not belong to convolutions.

        Args:
            model: The model.
            paths: Paths of its convolutions.

        Raises:
            ValueError: If a name is that of no layer, or of another one.
        """
        names = self.names or frozenset()
        found: dict[bool, set[str]] = {True: set(paths), False: set()}
        for layer in graph.sublayers(model):
            found[type(layer) in CONVOLUTIONS].add(layer.name)
        others = sorted(names & found[False] - found[True])
        unknown = sorted(names - found[False] - found[True])
        if others or unknown:
            raise ValueError(
                "Cannot re-parameterize the layers that `where` names in model "
                f"'{model.name}'. Received: {unknown} that it does not have, "
                f"and {others} that are no convolutions. Expected names of "
                "`Conv2D` or `DepthwiseConv2D` layers. Leave the others out."
            )


def convolutions(model):
    """All convolutions inside a model but those inside of rep layers."""
    inside = {
        id(inner)
        for layer in graph.sublayers(model)
        if isinstance(layer, RepLayer)
        for inner in graph.sublayers(layer)
    }
    return [
        layer
        for layer in graph.sublayers(model)
        if type(layer) in CONVOLUTIONS and id(layer) not in inside
    ]
