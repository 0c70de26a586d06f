"""What the tensors of published checkpoints are called and how they lie."""

import dataclasses
import re

import numpy as np

from keras_rep.layers import RepLayer

# Names of variables in Keras and of tensors in PyTorch.
LEAVES = (
    (r"/kernel$", ".weight"),
    (r"/bias$", ".bias"),
    (r"/gamma$", ".weight"),
    (r"/beta$", ".bias"),
    (r"/moving_mean$", ".running_mean"),
    (r"/moving_variance$", ".running_var"),
)
STAR = "*"


@dataclasses.dataclass(frozen=True)
class Naming:
    """How one source names the tensors of the networks of this package.

    Attributes:
        source: Whose names these are, for messages.
        rules: Pairs of a regular expression and its replacement, applied in
            turn to the path of a variable, such as
            `"stage1_0/branches/kxk/conv/kernel"`. A star in what comes out
            stands for 0, 1 and so on: for branches that lie side by side in
            one variable here.
    """

    source: str
    rules: tuple

    def names_of(self, variable, tensors):
        """The names of the tensors that make up a variable.

        Args:
            variable: The variable of the model.
            tensors: Dictionary, to see how far a star goes.
        """
        name = variable.path
        for pattern, replacement in (*self.rules, *LEAVES):
            name = re.sub(pattern, replacement, name)
        name = name.replace("/", ".")
        if STAR not in name:
            return [name]
        names: list[str] = []
        while name.replace(STAR, str(len(names))) in tensors:
            names.append(name.replace(STAR, str(len(names))))
        return names or [name.replace(STAR, "0")]

    def count(self, model, tensors):
        """How many variables of a model have tensors of these names."""
        return sum(
            set(self.names_of(variable, tensors)) <= set(tensors)
            for variable in model.variables
        )

    def value_of(self, model, variable, tensors):
        """The value of a variable.

        Args:
            model: The model.
            variable: Its variable.
            tensors: List of arrays in PyTorch's layout.
        """
        values = [_in_layout(variable, tensor) for tensor in tensors]
        if len(values) == 1:
            return values[0]
        layer = model.get_layer(variable.path.partition("/")[0])
        groups = layer.groups if isinstance(layer, RepLayer) else 1
        parts = [x.reshape(*x.shape[:-1], groups, -1) for x in values]
        return np.stack(parts, -2).reshape(*values[0].shape[:-1], -1)


def _in_layout(variable, tensor):
    """A tensor with its axes in Keras' order: the filters last."""
    if tensor.ndim == 2:
        return tensor.T
    if tensor.ndim < 3:
        return tensor
    value = np.moveaxis(tensor, (0, 1), (-1, -2))
    shape = tuple(variable.shape)
    if value.shape != shape and value.size == np.prod(shape):
        # A depthwise kernel of Keras: channels, then multiplier.
        return value.reshape(shape)
    return value
