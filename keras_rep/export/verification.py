"""Runs a file on its runtime before it gets its name."""

import numpy as np
from keras import ops, tree

from keras_rep import graph
from keras_rep.difference import max_rel_error
from keras_rep.errors import DeployError
from keras_rep.inputs import random_inputs

# Relative to the largest output. Another library adds up in another order,
# which costs the last one of seven digits, and a little more in a deep net.
FLOAT32_TOLERANCE = 1e-5
# A net may turn that into more, such as a softmax of large logits. The bound is
# then so many times what another last digit of each weight does: an untrained
# RepVGG-B1 and its files differed by up to 8 times that.
ROUNDINGS = 10
# Where rounding decides about more, comparing outputs shows nothing.
LARGEST_TOLERANCE = 1e-2
# Half precision has three digits; half of them are left after many layers.
FLOAT16_TOLERANCE = 3e-2


def verify_file(runner, model, names, tolerance=np.inf):
    """Compares a file with a model on random inputs.

    Args:
        runner: A runner of `keras_rep.runtime` with the new file.
        model: The plain model that was converted.
        names: Names of the outputs.
        tolerance: Bound on the error relative to the largest output, for
            models that do not turn rounding into more; without one, the file
            is only run.

    Raises:
        DeployError: If the file cannot be run, or differs from the model.
    """
    inputs = random_inputs(model)
    arrays = map(ops.convert_to_numpy, tree.flatten(inputs))
    feed = dict(zip(graph.input_names(model), arrays, strict=True))
    files_outputs = runner(feed)
    received = [files_outputs[name] for name in names]
    expected = _outputs(model, inputs)
    errors = _errors(expected, received)
    limits = [tolerance] * len(names)
    if not np.max(errors) <= tolerance:
        changed = _errors(expected, _outputs_of_rounded(model, inputs))
        limits = [
            max(tolerance, min(ROUNDINGS * error, LARGEST_TOLERANCE))
            for error in changed
        ]
    rows = zip(names, received, errors, limits, strict=True)
    for name, output, error, limit in rows:
        if not (np.isfinite(output).all() and error <= limit):
            raise DeployError(
                f"The exported file of model '{model.name}' differs from it. "
                f"Received: for the output '{name}', a relative error of "
                f"{error:.1e} on random inputs. Expected finite numbers and at "
                f"most {limit:.1e}. If the model turns rounding into large "
                "differences, pass `verify=False` and compare on data of your "
                "own with `keras_rep.check`; else please report it."
            )


def _errors(expected, received):
    pairs = zip(expected, received, strict=True)
    return [max_rel_error(*pair) for pair in pairs]


def _outputs(model, inputs):
    outputs = tree.flatten(model(inputs, training=False))
    return [ops.convert_to_numpy(x) for x in outputs]


def _outputs_of_rounded(model, inputs):
    """The outputs where the last digit of each weight is another."""
    rng = np.random.default_rng(0)

    def change(variable):
        value = ops.convert_to_numpy(variable)
        if not np.issubdtype(value.dtype, np.floating):
            return value
        signs = rng.choice((-1, 1), value.shape)
        return value * (1 + signs * np.finfo("float32").eps)

    values = [
        [ops.convert_to_tensor(change(x), x.dtype) for x in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
        )
    ]
    outputs, _ = model.stateless_call(*values, inputs, training=False)
    return [ops.convert_to_numpy(x) for x in tree.flatten(outputs)]
