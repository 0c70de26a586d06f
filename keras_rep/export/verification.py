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
# Half precision has three digits; half of them are left after many layers.
FLOAT16_TOLERANCE = 3e-2


def verify_file(runner, model, names, tolerance=None):
    """Compares a file with a model on random inputs.

    Args:
        runner: A runner of `keras_rep.runtime` with the new file.
        model: The plain model that was converted.
        names: Names of the outputs.
        tolerance: Bound on the error relative to the largest output; without
            one, the file is only run.

    Raises:
        DeployError: If the file cannot be run, or differs from the model.
    """
    inputs = random_inputs(model)
    arrays = map(ops.convert_to_numpy, tree.flatten(inputs))
    feed = dict(zip(graph.input_names(model), arrays, strict=True))
    received = runner(feed)
    outputs = tree.flatten(model(inputs, training=False))
    for name, output in zip(names, outputs, strict=True):
        expected = ops.convert_to_numpy(output)
        error = max_rel_error(expected, received[name])
        is_broken = not np.isfinite(received[name]).all()
        if is_broken or (tolerance is not None and not error <= tolerance):
            raise DeployError(
                f"The exported file of model '{model.name}' differs from it. "
                f"Received: for the output '{name}', a relative error of "
                f"{error:.1e} on random inputs. Expected at most {tolerance}. "
                "If the model turns rounding into large differences, pass "
                "`verify=False` and compare on data of your own with "
                "`keras_rep.check`; else please report it."
            )
