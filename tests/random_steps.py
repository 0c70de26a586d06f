"""What random models are made of: steps, and the places where they go."""

import dataclasses
from typing import Any

import keras
from hypothesis import strategies as st
from keras import layers

# Functions that make a layer for a `Site`, and those that put several layers
# behind a tensor: with how often they are drawn, and what is drawn for them.
LAYERS = {}
BLOCKS = {}

BOOL = st.booleans()
SIZE = st.tuples(*[st.integers(1, 4)] * 3)
STEP = st.tuples(*[st.integers(1, 2)] * 3)
# Growing signals are not made larger than this.
LARGEST = 12

PADDING = st.sampled_from(["same", "valid"])
FILTERS = st.integers(1, 6)
ACTIVATION = st.sampled_from(
    [
        *["linear"] * 4,
        *["relu"] * 3,
        "relu6",
        "leaky_relu",
        "tanh",
        "sigmoid",
        "silu",
        "gelu",
        "elu",
        "selu",
        "softplus",
        "hard_sigmoid",
        "softmax",
    ]
)
# What a step may ask for besides the options of its layer.
FROZEN = {"frozen": st.sampled_from([False] * 9 + [True])}
PINNED = {"pinned": st.sampled_from([False] * 11 + [True])}


@dataclasses.dataclass
class Site:
    """A place for a layer.

    Attributes:
        shape: Shape of the layer's input, without the batch axis.
        is_first: Whether channels come first.
        is_open: Whether the model leaves the spatial sizes open.
        name: Function from a layer type to an unused name.
    """

    shape: tuple
    is_first: bool
    is_open: bool
    name: Any

    @property
    def rank(self):
        return len(self.shape) - 1

    @property
    def axis(self):
        """Channel axis, counted with the batch axis."""
        return 1 if self.is_first and self.rank else len(self.shape)

    @property
    def channels(self):
        return self.shape[self.axis - 1]

    @property
    def sizes(self):
        return tuple(n for i, n in enumerate(self.shape) if i != self.axis - 1)

    def make(self, kind, *args, **options):
        """A named layer, of a type or the name of one without its rank.

        `{}` in the name stands for the rank.
        """
        if isinstance(kind, str):
            kind = getattr(layers, kind.format(f"{self.rank}D"))
        made = kind(*args, name=self.name(kind.__name__.lower()), **options)
        # Weights are drawn by numpy: JAX would compile that for each shape.
        for name, value in list(vars(made).items()):
            if isinstance(value, keras.initializers.Initializer):
                setattr(made, name, keras.initializers.Zeros())
        return made

    def make_spatial(self, kind, *args, **options):
        data_format = "channels_first" if self.is_first else "channels_last"
        return self.make(kind, *args, data_format=data_format, **options)


def layer(weight=1, **options):
    """Lists a function that makes a layer, with what to draw for it."""

    def register(function):
        LAYERS[function.__name__] = function, weight, options
        return function

    return register


def block(weight=1, **options):
    """Lists a function that puts several layers behind a tensor."""

    def register(function):
        BLOCKS[function.__name__] = function, weight, options
        return function

    return register


class Step:
    """One layer or block, put behind a tensor.

    Args:
        kind: A key of `LAYERS` or `BLOCKS`.
        back: How many tensors back its input lies.
        **options: Options of the kind.
    """

    def __init__(self, kind, back=0, /, **options):
        self.kind, self.back, self.options = kind, back, options

    def __repr__(self):
        pairs = [f"{key}={value!r}" for key, value in self.options.items()]
        back = [str(self.back)] if self.back else []
        return f"Step({', '.join([repr(self.kind), *back, *pairs])})"


@st.composite
def step_of(draw, kinds, far=0, **fixed):
    """A `Step` of the given kinds, with some options given as well."""
    weighted = [name for name, (_, n, _) in kinds.items() for _ in range(n)]
    kind = draw(st.sampled_from(weighted))
    options = {
        key: fixed[key] if key in fixed else draw(value)
        for key, value in kinds[kind][2].items()
    }
    back = draw(st.sampled_from([0] * 5 + list(range(far + 1))))
    return Step(kind, back, **options)


def steps(kinds, least, most, far=0):
    """Tuples of steps of the given kinds."""
    each = step_of(kinds, far)
    return st.lists(each, min_size=least, max_size=most).map(tuple)
