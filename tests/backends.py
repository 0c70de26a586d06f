"""Marks for tests for which one backend can speak."""

import keras
import pytest

# Of a deployed model, and where it was deployed makes no difference to it:
# test_parity.py compares the files, test_export_matrix.py tries every format.
conversion = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="any other backend leaves it to a child process on TensorFlow",
)


def beside_torch(test):
    """Marks a comparison with PyTorch, of which one backend is enough a day.

    Weights have the same names and values on every backend.
    """
    is_enough = keras.backend.backend() == "torch"
    return test if is_enough else pytest.mark.exhaustive(test)
