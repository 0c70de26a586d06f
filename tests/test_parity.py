"""The same weights give the same deployed model, whatever the backend."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from cases import CASES
from test_layers import assert_close

TESTS = pathlib.Path(__file__).parent
# A ring, so that testing every backend compares all of them.
NEXT = {"tensorflow": "jax", "jax": "torch", "torch": "tensorflow"}


def work(backend, task, folder):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    child = subprocess.run(
        [sys.executable, str(TESTS / "parity_worker.py"), task, str(folder)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    mine = keras.backend.backend()
    folders = []
    for backend in (mine, NEXT[mine]):
        folders.append(tmp_path_factory.mktemp(backend))
        work(backend, "deploy", folders[-1])
    return folders


def test_deployed_kernels_are_equal_to_the_last_byte(folders):
    ours, others = (np.load(folder / "kernels.npz") for folder in folders)

    assert ours.files == others.files
    # A kernel and a bias at least for every case and every layer of the net.
    assert len(ours.files) >= 2 * len(CASES) + 10
    for name in ours.files:
        assert ours[name].dtype == "float32"
        assert ours[name].tobytes() == others[name].tobytes()


def test_exported_files_are_equal_to_the_last_byte(folders):
    ours, others = (
        {
            path.name: path.read_bytes()
            for pattern in ("*.tflite", "*.onnx", "*.json")
            for path in folder.glob(pattern)
        }
        for folder in folders
    )

    # Three files, and the ranges of one.
    assert len(ours) == 4
    for name, content in ours.items():
        assert content == others[name], name


def test_deployed_files_run_on_another_backend_without_the_package(folders):
    from parity_worker import samples

    other = NEXT[keras.backend.backend()]
    work(other, "run", folders[0])

    received = np.load(folders[0] / "outputs.npy")
    plain = keras.models.load_model(folders[0] / "plain.keras")
    assert_close(received, plain.predict(samples(), verbose=0), 2e-6)
