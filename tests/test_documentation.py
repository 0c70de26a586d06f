"""Examples in the documentation run, and defaults are not said twice."""

import doctest
import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest
from test_architecture import MODULES, ids

import keras_rep

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.filterwarnings("ignore:Model '.*' has 1 layers whose batch")
@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_docstrings(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(names).removesuffix(".__init__"))
    context = {**vars(module), "RepConv": keras_rep.layers.RepConv}
    options = doctest.NORMALIZE_WHITESPACE

    for test in doctest.DocTestFinder().find(module, extraglobs=context):
        runner = doctest.DocTestRunner(optionflags=options)
        runner.run(test)
        assert runner.failures == 0, test.name


def readme_blocks():
    text = (ROOT / "README.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_readme_in_a_fresh_interpreter(tmp_path):
    """All of its Python, one block after the other, on random pictures."""
    prelude = (
        "import numpy as np\n"
        "rng = np.random.default_rng(0)\n"
        "x_train = rng.normal(size=(64, 32, 32, 3)).astype('float32')\n"
        "y_train = rng.integers(0, 10, 64)\n"
        "x_test, y_test = x_train[:16], y_train[:16]\n"
    )
    script = tmp_path / "readme.py"
    script.write_text(prelude + "\n".join(readme_blocks()))

    child = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert child.returncode == 0, child.stderr
    assert readme_blocks()
    assert (tmp_path / "model.tflite").exists()


def test_the_example_of_an_own_block():
    child = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "custom_block.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert child.returncode == 0, child.stderr
    assert "Largest difference" in child.stdout


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_docstrings_do_not_repeat_defaults(path):
    """They drift; the signature says them."""
    assert not re.search(r"[Dd]efaults? to|[Dd]efault:", path.read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "mxnet"], "invalid choice: 'mxnet'"),
        (["--data", "cifar"], "invalid choice: 'cifar'"),
    ],
)
def test_the_demo_explains_wrong_values(arguments, message):
    child = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), *arguments],
        capture_output=True,
        text=True,
    )

    assert child.returncode == 2
    assert message in child.stderr
