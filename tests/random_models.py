"""Random models: descriptions that hypothesis draws, prints and shrinks.

A `Recipe` prints as the code that makes it, so that a failing one can be
copied into a test.
"""

import dataclasses
import inspect
import itertools

import keras
from hypothesis import strategies as st
from random_blocks import BLOCKS
from random_steps import LAYERS, Site, Step, steps


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A model.

    Attributes:
        shape: Shape of all inputs, with the channels last.
        steps: Tuple of `Step`.
        inputs: Number of inputs.
        outputs: Which tensors are outputs, counted back from the last one.
        structure: `"list"` or `"dict"`, of several inputs and outputs.
        is_sequential: Whether it is a `Sequential` model, of layers only.
        is_open: Whether it leaves the spatial sizes open.
        is_first: Whether channels come first, where the backend can do that.
        seed: Of weights and inputs.
    """

    shape: tuple
    steps: tuple
    inputs: int = 1
    outputs: tuple = (0,)
    structure: str = "list"
    is_sequential: bool = False
    is_open: bool = False
    is_first: bool = False
    seed: int = 0

    def build(self):
        """The model, and the shape of one sample for each input."""
        builder = Builder(self)
        if self.is_sequential:
            return builder.sequential(), [builder.shape]
        model = builder.functional(lambda shape: shape)
        if self.is_open:
            # Again, with the same decisions, which need the sizes.
            builder = Builder(self, iter(builder.seen))
            model = builder.functional(builder.opened)
        return model, [builder.shape] * self.inputs


class Builder:
    """Builds the model of a recipe.

    Args:
        recipe: The `Recipe`.
        known: Iterator over the shapes of all layers' inputs, where the
            tensors of the model do not tell them.
    """

    def __init__(self, recipe, known=None):
        self.recipe = recipe
        self.known = known
        self.seen = []
        self.numbers = itertools.count()
        *sizes, channels = recipe.shape
        # TensorFlow has no such convolutions on a CPU.
        can_be_first = keras.backend.backend() != "tensorflow" and sizes
        self.is_first = bool(recipe.is_first and can_be_first)
        self.shape = (channels, *sizes) if self.is_first else (*sizes, channels)

    def name(self, stem):
        # Without the underscore of the names that Keras gives.
        return f"{stem}{next(self.numbers)}"

    def opened(self, shape):
        site = Site(shape, self.is_first, True, None)
        return tuple(
            n if i == site.axis - 1 else None for i, n in enumerate(shape)
        )

    def site(self, x):
        shape = tuple(x.shape[1:]) if self.known is None else next(self.known)
        self.seen.append(shape)
        return Site(shape, self.is_first, self.recipe.is_open, self.name)

    def layer(self, site, step):
        """The layer of a step, and the arguments of its calls."""
        options = dict(step.options)
        is_frozen = options.pop("frozen", False)
        is_pinned = options.pop("pinned", False)
        layer = LAYERS[step.kind][0](site, **options)
        if is_frozen:
            layer.trainable = False
        takes_mode = "training" in inspect.signature(layer.call).parameters
        return layer, {"training": True} if is_pinned and takes_mode else {}

    def apply(self, step, x, pool=()):
        """The output of a step for a tensor."""
        if step.kind in BLOCKS:
            return BLOCKS[step.kind][0](self, x, pool, **step.options)
        layer, options = self.layer(self.site(x), step)
        return layer(x, **options)

    def put(self, x, kind, /, **options):
        return self.apply(Step(kind, **options), x)

    def run(self, steps, x):
        for step in steps:
            x = self.apply(step, x)
        return x

    def other(self, x, pool, skip=0):
        """Another tensor of the same shape: one that is there, or a new one."""
        shape = self.site(x).shape
        shapes = [self.site(y).shape for y in pool]
        fitting = [
            y
            for y, known in zip(pool, shapes, strict=True)
            if known == shape and y is not x
        ]
        if fitting:
            return fitting[-1 - skip % len(fitting)]
        return self.put(x, "relu", negative_slope=0.25)

    def sequential(self):
        x = keras.Input(self.shape, name="input_0")
        return self.stack(x, self.recipe.steps, "model")

    def stack(self, x, steps, name):
        """A sequential model of the steps that are layers."""
        model = keras.Sequential([x], name=name)
        for step in steps:
            if step.kind in LAYERS:
                model.add(self.layer(self.site(x), step)[0])
                x = model.outputs[0]
        return model

    def functional(self, declare):
        recipe = self.recipe
        inputs = [
            keras.Input(declare(self.shape), name=f"input_{i}")
            for i in range(recipe.inputs)
        ]
        pool = list(inputs)
        for step in recipe.steps:
            x = pool[-1 - step.back % len(pool)]
            pool.append(self.apply(step, x, pool))
        picked = [pool[-1 - i % len(pool)] for i in recipe.outputs]
        # Each once: Keras would give several outputs one name.
        picked = list({id(x): x for x in picked}.values())
        return keras.Model(
            self._structured(inputs, "input_{}"),
            self._structured(picked, "out_{}"),
            name="model",
        )

    def _structured(self, tensors, key):
        if self.recipe.structure == "dict":
            return {key.format(i): x for i, x in enumerate(tensors)}
        return tensors if len(tensors) > 1 else tensors[0]


SHAPES = st.one_of(
    st.tuples(st.integers(5, 12), st.integers(5, 12), st.integers(1, 6)),
    st.tuples(st.integers(5, 12), st.integers(5, 12), st.integers(1, 6)),
    st.tuples(st.integers(5, 12), st.integers(1, 6)),
    st.tuples(*[st.integers(4, 6)] * 3, st.integers(1, 4)),
    st.tuples(st.integers(1, 8)),
)
RARELY = st.sampled_from([False] * 5 + [True])


@st.composite
def recipes(draw):
    """A `Recipe` of 1 to 10 steps, which make up to 30 layers."""
    is_sequential = draw(RARELY)
    kinds = LAYERS if is_sequential else LAYERS | BLOCKS
    return Recipe(
        shape=draw(SHAPES),
        steps=draw(steps(kinds, 1, 10, far=3)),
        inputs=1 if is_sequential else draw(st.sampled_from([1, 1, 1, 2])),
        outputs=(0, *draw(st.lists(st.integers(1, 4), max_size=2))),
        structure=draw(st.sampled_from(["list", "list", "dict"])),
        is_sequential=is_sequential,
        is_open=draw(RARELY),
        is_first=draw(RARELY),
        seed=draw(st.integers(0, 9)),
    )
