import os

# Everything is compiled for a call or two: fast compilation, not fast code.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true",
)

# PyTorch must be imported before TensorFlow, which Keras imports where it can.
if os.environ.get("KERAS_BACKEND") == "torch":
    import torch

    torch.set_num_threads(1)

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def backend():
    return keras.backend.backend()
