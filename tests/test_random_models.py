"""Deployment of random models leaves their function alone.

`KERAS_REP_EXAMPLES` says how many are tried; `make fuzz N=10000` sets it.
"""

import contextlib
import functools
import inspect
import itertools
import math
import os

import keras
import numpy as np
import pytest
from arrays import array, randomize
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from keras import tree
from random_convolutions import Unit
from random_models import recipes

import keras_rep
from keras_rep import rules
from keras_rep.layerwise import returned_by_layers
from keras_rep.program import Program

EXAMPLES = int(os.environ.get("KERAS_REP_EXAMPLES", "0"))
# Of the largest output; in float32, of the largest value of any layer. Most
# errors are some 1e-16, but layers multiply them: a normalization of the batch
# by up to 1/√ε, a difference by what it cancels.
TOLERANCE = {"float64": 1e-11, "float32": 2e-6}
# An output below this is what rounding left of a difference of equals.
NOTHING = 1e-3


# Of more examples hypothesis makes five out of six by copying parts of others,
# which finds nothing here.
BATCH = 10


def batches(share, default):
    """Parameters of a test that tries a share of the examples."""
    count = math.ceil(EXAMPLES * share / BATCH) or default
    return pytest.mark.parametrize("batch", range(count))


def for_all(batch, *strategies):
    """Runs the decorated function on a batch of examples, always the same."""

    def run(function):
        profile = settings(
            deadline=None,
            database=None,
            max_examples=BATCH,
            suppress_health_check=list(HealthCheck),
        )
        seed(batch)(profile(given(*strategies)(function)))()

    return run


NAMES = [name for name in rules.__all__ if name != "DEFAULT_RULES"]


def named_rule(name, max_growth):
    rule = getattr(rules, name)
    if "max_growth" in inspect.signature(rule).parameters:
        return functools.partial(rule, max_growth=max_growth)
    return rule


# What may be drawn now and then, and means nothing here.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "You are using a softmax",
        "You might experience inconsistencies",
        "Torch backend requires output_padding",
    )
]


@pytest.fixture
def _float64():
    """Lets Keras compute in float64, on JAX and PyTorch too.

    So the tests judge the algebra, and no rounding hides a mistake.
    """
    # Keras' table of types that are narrowed "to be aligned with JAX".
    from keras.src.backend.common import dtypes  # noqa: TID251

    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
        if keras.backend.backend() == "jax":
            import jax  # noqa: TID251

            stack.enter_context(jax.enable_x64(True))
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        yield
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def ends(model):
    """Structures of a model's inputs and outputs."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def samples(model, shapes, seed):
    rng = np.random.default_rng(seed)
    dtype = keras.config.floatx()
    arrays = [rng.normal(0.3, 1.0, (2, *s)).astype(dtype) for s in shapes]
    return tree.pack_sequence_as(ends(model)[0], arrays)


def outputs(model, inputs):
    """Outputs in inference mode; random layers draw what they did before."""
    for layer in model._flatten_layers():
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign([7, 0])
    if keras.backend.backend() == "jax":
        # In one piece: JAX would compile every operation by itself.
        return model.predict_on_batch(inputs)
    return tree.map_structure(array, model(inputs, training=False))


def is_miscalculated(model):
    """Whether TensorFlow gets a convolution in the model wrong.

    TensorFlow 2.21 pads a 3-D convolution in double precision, and only in
    that, by a negative number where "same" padding needs none and the stride
    is larger than the kernel.
    """
    if keras.backend.backend() != "tensorflow" or keras.config.floatx() != (
        "float64"
    ):
        return False
    return any(
        isinstance(layer, keras.layers.Conv3D)
        and layer.padding == "same"
        and max(layer.strides) > min(layer.kernel_size)
        for layer in model._flatten_layers()
    )


def assert_same_function(model, plain, shapes, seed):
    if is_miscalculated(model) or is_miscalculated(plain):
        return
    inputs = samples(model, shapes, seed)
    expected, received = (outputs(m, inputs) for m in (model, plain))
    tree.assert_same_structure(received, expected)
    largest = 0.0
    if keras.config.floatx() == "float32":
        # A difference of large numbers keeps what they were rounded by.
        inner = returned_by_layers(Program(model), inputs)
        arrays = itertools.chain(*inner.values())
        sizes = (np.abs(x).max(initial=0.0) for x in arrays)
        largest = max(sizes, default=0.0)
    pairs = zip(tree.flatten(received), tree.flatten(expected), strict=True)
    for new, old in pairs:
        assert np.isfinite(old).all()
        scale = max(np.abs(old).max(initial=0.0), largest, NOTHING)
        assert new.dtype == old.dtype == keras.config.floatx()
        atol = TOLERANCE[keras.config.floatx()] * scale
        np.testing.assert_allclose(new, old, rtol=0, atol=atol)


def assert_same_interface(model, plain):
    for old, new in zip(ends(model), ends(plain), strict=True):
        tree.assert_same_structure(new, old)
        shapes = [[tuple(x.shape) for x in tree.flatten(e)] for e in (new, old)]
        assert shapes[0] == shapes[1]
    names = [[x.name for x in m.inputs] for m in (plain, model)]
    assert names[0] == names[1]
    assert plain.name == model.name
    if not isinstance(model, keras.Sequential):
        assert plain.output_names == model.output_names


def assert_is_plain(plain):
    strange = {type(layer).__module__ for layer in plain._flatten_layers()}
    assert not {name for name in strange if name.startswith("keras_rep")}


def leaves(model):
    """Layers and operations of a model and those in it."""
    if isinstance(model, keras.Sequential):
        operations = model.layers
    else:
        operations = [x for x in model.operations if x not in model.layers]
        operations += model.layers
    for each in operations:
        if isinstance(each, keras.Model):
            yield from leaves(each)
        elif not isinstance(each, keras.layers.InputLayer):
            yield each


def assert_is_explained(model, chosen):
    rows = {}
    for row in keras_rep.explain(model, rules=chosen).layers:
        rows.setdefault(row.path.rpartition("/")[2], []).append(row)
        assert row.rule or row.remarks, row.path
    for each in leaves(model):
        inside = [each.name]
        if isinstance(each, Unit) and each.name not in rows:
            # It was opened.
            inside = [each.conv.name, each.norm.name]
        assert set(inside) <= set(rows)


def check(recipe, chosen):
    model, shapes = recipe.build()
    randomize(model, recipe.seed)
    before = [np.array(array(v)) for v in model.weights]

    plain = keras_rep.deploy(model, rules=chosen, verify=False, strict=False)

    for value, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(array(variable), value)
    assert_same_interface(model, plain)
    if chosen is None or rules.deploy_rep_layer in chosen:
        assert_is_plain(plain)
    assert_same_function(model, plain, shapes, recipe.seed)
    assert_is_explained(model, chosen)


@batches(0.45, 3)
@pytest.mark.usefixtures("_float64")
def test_deployed_models_are_the_same_function(batch):
    @for_all(batch, recipes())
    def _(recipe):
        check(recipe, None)


@batches(0.45, 2)
@pytest.mark.usefixtures("_float64")
def test_any_rules_in_any_order(batch):
    names = st.lists(st.sampled_from(NAMES), unique=True)

    @for_all(1000 + batch, recipes(), names, st.sampled_from([1.0, 100.0]))
    def _(recipe, names, max_growth):
        check(recipe, [named_rule(name, max_growth) for name in names])


@batches(0.1, 1)
def test_deployed_models_are_the_same_function_in_float32(batch):
    @for_all(2000 + batch, recipes())
    def _(recipe):
        check(recipe, None)
