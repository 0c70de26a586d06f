"""The calls of a program, and what became of the layers that they call.

Nothing here holds weights: a call of the original model refers to the original
layer, and a new call has a function that computes the new layer's weights when
the new model is built.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, tree

from keras_rep import graph
from keras_rep.terms import read_numpy

# Stands for the model's outputs among the users of a tensor.
OUTPUT = "output"


@dataclasses.dataclass(eq=False)
class Tensor:
    """What a call returns, or an input of the model.

    Attributes:
        spec: KerasTensor of its shape and dtype.
        producer: The `Call` that returned it, `None` for an input.
        users: Calls that get it, each as often as it does; `OUTPUT` for the
            model's outputs.
    """

    spec: keras.KerasTensor
    producer: Any = None
    users: list = dataclasses.field(default_factory=list)

    @property
    def shape(self):
        return self.spec.shape


def is_tensor(value):
    """Whether a value is a tensor of a program."""
    return isinstance(value, Tensor)


@dataclasses.dataclass(eq=False)
class Call:
    """One call of a layer or operation.

    Attributes:
        layer: The layer or operation: an original one, never to be changed,
            or a new one, not built.
        args: Positional arguments, structures with `Tensor` objects.
        kwargs: Keyword arguments, likewise.
        source: The original layer that it stands for, maybe itself.
        program: The `Program` that it belongs to.
        scope: Names of the composite layers around it that were opened.
        fill: For a new layer, how it gets its weights: a function that
            returns them in the order of `layer.weights`. It is called once,
            when the layer is built, and the weights are rounded then.
        body: For a nested model, its `Program`.
        outputs: List of `Tensor`.
    """

    layer: Any
    args: tuple
    kwargs: dict
    source: Any
    program: Any
    scope: tuple = ()
    fill: Callable | None = None
    body: Any = None
    outputs: list = dataclasses.field(default_factory=list)

    @property
    def inputs(self):
        """The tensors among the arguments."""
        return list(filter(is_tensor, tree.flatten((self.args, self.kwargs))))

    @property
    def output(self):
        """The first output."""
        return self.outputs[0]

    @property
    def weights(self):
        """Function that returns the layer's weights, for a `fill`."""
        return self.fill or (lambda: list(map(read_numpy, self.layer.weights)))

    @property
    def is_new(self):
        """Whether a rule made the layer."""
        return self.layer is not self.source

    @property
    def is_pinned_to_training(self):
        """Whether the call says `training=True`, so always uses the batch."""
        return graph.is_pinned_to_training(self.layer, self.kwargs)

    @property
    def has_weights(self):
        """Whether the layer has weights, so that its calls depend on others."""
        return bool(getattr(self.layer, "weights", ())) or self.fill is not None

    @property
    def is_sum(self):
        """Whether it adds up tensors: the layer `Add`, or the operation."""
        return type(self.layer) is layers.Add or (
            graph.operation_name(self.layer) == "Add"
            and len(self.inputs) == len(tree.flatten(self.args)) == 2
        )

    @property
    def is_only_call(self):
        """Whether the layer is called once in the whole model."""
        return self.program.calls_of(self.layer) == [self]

    def is_only_user_of(self, tensor):
        """Whether this call gets a tensor once, and nothing else gets it."""
        return tensor.users == [self]

    def always_follows(self, producer):
        """Whether this layer alone gets the outputs of another call's layer.

        True where both layers are called several times, but always one behind
        the other. One sum is as good as another one.
        """
        return all(
            len(call.output.users) == 1 and self._is_like(call.output.users[0])
            for call in self.program.calls_of(producer.layer)
        )

    def _is_like(self, user):
        if user is OUTPUT:
            return False
        return user.layer is self.layer or (user.is_sum and self.is_sum)

    def once(self, make, *keys):
        """The result of `make()`, made once for the given objects.

        Numbers and strings among them count by their value. So a layer that is
        called n times becomes one layer called n times.
        """
        return self.program.once(make, *keys)

    def repeat(self, tensors):
        """Adds a call of the same layer, with other tensors of equal shapes.

        Args:
            tensors: List of `Tensor` in place of `inputs`, which differ.

        Returns:
            The output `Tensor`.
        """
        # By identity: on PyTorch, Keras maps dictionaries in another order than
        # it flattens them.
        pairs = zip(self.inputs, tensors, strict=True)
        new = {id(old): tensor for old, tensor in pairs}
        args, kwargs = tree.map_structure(
            lambda x: new[id(x)] if is_tensor(x) else x,
            (self.args, self.kwargs),
        )
        copy = dataclasses.replace(self, args=args, kwargs=kwargs, outputs=[])
        return self.program.include(copy, [x.spec for x in self.outputs])

    def emit(self, layer, *args, source=None, fill=None):
        """Adds the call of a new layer to the program.

        Args:
            layer: The layer, not built, or a built model.
            *args: Its arguments, `Tensor` objects.
            source: `Call` for whose original layer it stands; by default this
                one.
            fill: `fill` of the new `Call`.

        Returns:
            The output `Tensor`.
        """
        origin = source or self
        return self.program.add(layer, args, origin.source, origin.scope, fill)

    def remark(self, text):
        """Notes for the report what a user should know of the result."""
        outcome = self.program.outcomes.get(id(self.source))
        if outcome is not None and text not in outcome.remarks:
            outcome.remarks.append(text)


@dataclasses.dataclass
class Outcome:
    """What became of one layer or operation of the original model.

    Attributes:
        path: Its name, behind those of the models and layers that hold it.
        layer: The original layer or operation.
        input_shapes: Shape of its first input, for each of its calls.
        emitted: Pairs of a new layer and the shape of its first input, for
            each call that stands for the layer; none if it dissolved.
        rule: Name of the rule that rewrote it last, if one did.
        home: Path of the layer into which it dissolved, if it did.
        takes_up: Paths of the layers that dissolved into it.
        reasons: Why rules refused it.
        remarks: What rules say of the result.
    """

    path: str
    layer: Any
    input_shapes: list = dataclasses.field(default_factory=list)
    emitted: list = dataclasses.field(default_factory=list)
    rule: str | None = None
    home: str | None = None
    takes_up: list = dataclasses.field(default_factory=list)
    reasons: list = dataclasses.field(default_factory=list)
    remarks: list = dataclasses.field(default_factory=list)


def spec_of(value):
    """The spec of a `Tensor`; other values as they are."""
    return value.spec if is_tensor(value) else value
