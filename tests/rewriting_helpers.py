"""Deploying small models by some rules, and reading what became of them."""

import keras
import numpy as np
from arrays import randomize
from keras import tree
from test_deploy import assert_same_function, kinds

import keras_rep
from keras_rep.graph import input_specs


def inputs_like(*shape, count=2):
    rng = np.random.default_rng(2)
    return rng.normal(0.5, 1.0, (count, *shape)).astype("float32")


def some_inputs(model):
    """A batch for a model with known sizes."""
    return tree.map_structure(
        lambda spec: inputs_like(*spec.shape[1:]).astype(spec.dtype),
        input_specs(model),
    )


def rewritten(model, *rules, inputs=None):
    """The model by the given rules alone, with weights that show mistakes."""
    randomize(model)
    plain = keras_rep.deploy(model, rules=rules, verify=False)
    inputs = some_inputs(model) if inputs is None else inputs
    assert_same_function(model, plain, inputs)
    return plain


def functional(call, *shape):
    """A functional model of one input, or of several of equal shapes."""
    inputs = keras.Input(shape, name="image")
    return keras.Model(inputs, call(inputs))


def kinds_of(model, *rules, inputs=None):
    """Names of the classes in the rewritten model, without the input's."""
    names = kinds(rewritten(model, *rules, inputs=inputs))
    return [name for name in names if name not in ("InputLayer", "Identity")]


def reason(model, name, *rules):
    """Why a layer stays, in one string; it must stay."""
    report = keras_rep.explain(model, rules=rules or None)
    return "; ".join(report.kept[name])
