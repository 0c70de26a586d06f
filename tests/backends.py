"""Marks for tests for which one backend can speak."""

import keras
import pytest

# Of a deployed model, and where it was deployed makes no difference to it:
# test_parity.py compares the files, test_export_matrix.py tries every format.
conversion = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="any other backend leaves it to a child process on TensorFlow",
)

beside_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="PyTorch may crash where it is imported after TensorFlow",
)
