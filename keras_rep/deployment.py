"""From the training form to plain Keras: `deploy`, `explain`, `verify`."""

import functools
import math
import warnings

import keras
import numpy as np
from keras import ops, tree

from keras_rep import graph, progress
from keras_rep.building import build
from keras_rep.compiling import compile_like
from keras_rep.errors import DeployError
from keras_rep.inputs import random_inputs
from keras_rep.layers import RepLayer
from keras_rep.program import Program
from keras_rep.report import Equivalence, has_fresh_statistics, summarize
from keras_rep.rewriting import rewrite
from keras_rep.rules import DEFAULT_RULES
from keras_rep.rules import remove_residuals as removal_rule

MACHINE_EPSILON = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
}


def deploy(model, *, rules=None, verify=True, strict=True):
    """Rewrites a model into plain Keras layers with the same outputs.

    Every re-parameterizable layer becomes one plain convolution, and batch
    normalizations fold into the convolutions before them. The result equals
    the model in inference mode, `model(x, training=False)`; it holds layers of
    `keras.layers` only, so that it can be saved and loaded without this
    package, on any backend.

    Args:
        model: A built `keras.Model`: functional, sequential or subclassed. It
            is not changed.
        rules: Rules to apply, functions of `keras_rep.rules`; by default
            `DEFAULT_RULES` of that module.
        verify: Whether to compare the result with the model on random inputs.
        strict: Whether to raise an error if a re-parameterizable layer must
            stay, instead of keeping it.

    Returns:
        A new functional model, or a sequential one for a sequential model. It
        has the same layer names, inputs and outputs, and is compiled with the
        same loss, metrics and a new optimizer if the model is compiled.

    Raises:
        ValueError: If the model is no Keras model.
        DeployError: If the model cannot be traced, if a layer cannot be
            deployed, or if the result differs from the model.

    Example:
    >>> import keras
    >>> model = keras.Sequential(
    ...     [keras.Input((32, 32, 3)), RepConv(8, name="stem")]
    ... )
    >>> plain = deploy(model)
    >>> type(plain.get_layer("stem")).__name__
    'Conv2D'
    """
    plain, outcomes = rewrite_model(model, rules)
    stays = [outcome for outcome in outcomes if _needs_deployment(outcome)]
    if strict and stays:
        reasons = "".join(
            f"\n- '{outcome.path}': "
            + (" and ".join(outcome.reasons) or "no rule takes it")
            for outcome in stays
        )
        raise DeployError(
            f"Cannot deploy model '{model.name}'. Received: {len(stays)} "
            f"layers that are not plain Keras and must stay:{reasons}.\n"
            "Expected every re-parameterizable layer to be called in "
            "inference mode and `rules` to cover it. Mend the calls, or pass "
            "`strict=False` to keep these layers."
        )
    _warn_of_fresh_statistics(model, outcomes)
    compile_like(model, plain)
    if verify:
        _assert_equivalent(model, plain)
    return plain


def remove_residuals(model, *, max_growth=math.inf, verify=True):
    """Deploys a model and removes its residual connections, exactly.

    The operation of RMNet on a whole model: blocks around which their input
    is added become straight rows of wider convolutions. It costs multiply-adds
    and parameters; `explain(model, rules=...)` says how many, block by block,
    before it happens.

    Args:
        model: A built `keras.Model`. It is not changed.
        max_growth: How many times the multiply-adds, and the parameters, of a
            block its row of convolutions may take. With 1 only what pays is
            done.
        verify: Whether to compare the result with the model on random inputs.

    Returns:
        A new model, as `deploy` returns it.

    Raises:
        ValueError: If the model is no Keras model.
        DeployError: If the model cannot be deployed.

    Example:
    >>> import keras
    >>> inputs = keras.Input((8, 8, 4))
    >>> x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    >>> x = keras.layers.Conv2D(4, 3, padding="same")(x)
    >>> model = keras.Model(inputs, keras.layers.Add()([x, inputs]))
    >>> plain = remove_residuals(model)
    >>> [type(layer).__name__ for layer in plain.layers]
    ['InputLayer', 'Conv2D', 'PReLU', 'Conv2D', 'Identity']

    Reference:

    - Meng et al. 2021, "RMNet: Equivalently Removing Residual Connection from
      Networks", arXiv 2111.00687.
    """
    removal = functools.partial(removal_rule, max_growth=max_growth)
    return deploy(model, rules=[*DEFAULT_RULES, removal], verify=verify)


def explain(model, *, rules=None):
    """Tells what `deploy` does with each layer of a model, and why not.

    Args:
        model: A built `keras.Model`. It is not changed.
        rules: Rules to apply, as for `deploy`.

    Returns:
        A `DeployReport`; `print` shows it as a table.

    Raises:
        ValueError: If the model is no Keras model.
        DeployError: If the model cannot be traced.

    Example:
    >>> import keras
    >>> model = keras.Sequential(
    ...     [keras.Input((32, 32, 3)), RepConv(8, name="stem")]
    ... )
    >>> explain(model).replaced
    ('stem',)
    """
    _, outcomes = rewrite_model(model, rules)
    return summarize(model, outcomes)


def verify(model, plain, inputs=None):
    """Compares the outputs of two models in inference mode.

    Args:
        model: A built `keras.Model`.
        plain: A model with the same inputs and outputs.
        inputs: Structure of arrays for the models' inputs; by default one
            random sample. Unknown sizes become 64, 96, 64, 96 and so on.

    Returns:
        An `Equivalence`. Its tolerance is the square root of the machine
        epsilon of the least precise dtype in which the model computes:
        rounding adds up over the layers, but leaves half of the digits.

    Raises:
        ValueError: If the models' outputs do not correspond.

    Example:
    >>> import keras
    >>> model = keras.Sequential([keras.Input((32, 32, 3)), RepConv(8)])
    >>> verify(model, deploy(model)).passed
    True
    """
    if inputs is None:
        inputs = random_inputs(model)
    expected = tree.flatten(model(inputs, training=False))
    received = tree.flatten(plain(inputs, training=False))
    shapes = [[tuple(x.shape) for x in xs] for xs in (expected, received)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Cannot compare models '{model.name}' and '{plain.name}'. "
            f"Received: outputs of shapes {shapes[0]} and {shapes[1]}. "
            "Expected equal shapes. Compare a model with its own deployed form."
        )
    errors = [
        _errors(*map(_to_float64, pair))
        for pair in zip(expected, received, strict=True)
    ]
    absolute, relative = np.max(errors, axis=0)
    dtypes = graph.compute_dtypes(model)
    epsilon = max(MACHINE_EPSILON.get(dtype, 0.0) for dtype in dtypes)
    return Equivalence(float(absolute), float(relative), epsilon**0.5)


def rewrite_model(model, rules):
    """Deploys a model without comparing it, for all that needs to know how.

    Args:
        model: A built `keras.Model`. It is not changed.
        rules: Rules to apply, as for `deploy`.

    Returns:
        The new model, and a list of `keras_rep.calls.Outcome`.

    Raises:
        ValueError: If the model is no Keras model, or a rule no function.
        DeployError: If the model cannot be traced.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Cannot deploy an object of type {type(model).__name__}. "
            f"Received: {model!r}. Expected a `keras.Model`. Wrap a layer in "
            "`keras.Sequential([keras.Input(shape), layer])`."
        )
    rules = DEFAULT_RULES if rules is None else tuple(rules)
    if not all(map(callable, rules)):
        raise ValueError(
            f"Invalid rules. Received: rules={rules!r}. Expected functions of "
            "`keras_rep.rules`. Pass for example "
            "`rules=[keras_rep.rules.deploy_rep_layer]`."
        )
    program = Program(model)
    with progress.count(f"deploying {model.name}") as advance:
        rewrite(program, rules, advance)
        plain = build(program)
    return plain, list(program.outcomes.values())


def _needs_deployment(outcome):
    layer = outcome.layer
    holds = isinstance(layer, RepLayer) or graph.contains(layer, RepLayer)
    return holds and outcome.rule is None


def _warn_of_fresh_statistics(model, outcomes):
    fresh = [
        outcome.path
        for outcome in outcomes
        if has_fresh_statistics(outcome.layer)
    ]
    if fresh:
        warnings.warn(
            f"Model '{model.name}' has {len(fresh)} layers whose batch "
            f"normalization was never updated, '{fresh[0]}' first. Deployed, "
            "it equals the model in inference mode, which such a model was "
            "not trained for. Train it, or load its weights, before deploying.",
            stacklevel=3,
        )


def _assert_equivalent(model, plain):
    try:
        inputs = random_inputs(model)
        model(inputs, training=False)
    except Exception as error:
        raise DeployError(
            f"Cannot verify the deployed form of '{model.name}'. Received from "
            f"the model on random inputs: {type(error).__name__}: {error}. "
            "Expected it to accept any values of its input shapes. Pass "
            "`verify=False`, then compare on inputs of your own with "
            "`keras_rep.verify(model, plain, inputs)`."
        ) from error
    result = verify(model, plain, inputs)
    if not result.passed:
        raise DeployError(
            f"The deployed form of '{model.name}' differs from the model. "
            f"Received: a relative error of {result.max_rel_error:.1e} on "
            f"random inputs. Expected at most {result.tolerance:.1e}. If the "
            "model is random in inference mode, or turns rounding into large "
            "differences, pass `verify=False` and compare on data of your own "
            "with `keras_rep.verify(model, plain, inputs)`; else please "
            "report it."
        )


def _to_float64(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


def _errors(expected, received):
    """Largest absolute and relative difference; infinite if not finite."""
    error = np.max(np.abs(expected - received), initial=0.0)
    scale = np.max(np.abs(expected), initial=0.0)
    if not np.isfinite(error):
        return np.inf, np.inf
    return error, error / scale if scale else error
