"""The shape of the package: who imports whom, how large, how documented."""

import ast
import pathlib

import pytest

import keras_rep
import keras_rep.layers
import keras_rep.quantize
import keras_rep.rules
import keras_rep.terms

PACKAGE = pathlib.Path(keras_rep.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Lowest first. A module imports from its own rank and those before it.
RANKS = [
    {"arrays", "backend", "errors", "progress"},
    {"composition", "parts"},
    {"grid", "kernel"},
    {"window"},
    {"moments"},
    {"terms"},
    {"layers"},
    {"graph"},
    {"cloning", "inputs"},
    {"calls"},
    {"program"},
    {"affine", "building", "functions", "rewriting", "running"},
    {"commuting", "value_range"},
    {"absorbing"},
    {"linear"},
    {"residuals"},
    {"widening"},
    {"rules"},
    {"report"},
    {"compiling", "selection"},
    {"deployment", "reparameterization"},
    {"difference", "layerwise", "runtime"},
    {"quantize"},
    {"export"},
    {"checking", "models", "page"},
    {"__init__"},
    {"cli"},
    {"__main__"},
]


def name_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rank(name):
    (found,) = [i for i, names in enumerate(RANKS) if name in names]
    return found


def own_imports(path):
    """Names of the package's modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts == ["keras_rep"]:
                yield from (alias.name for alias in node.names)
            elif parts[0] == "keras_rep":
                yield parts[1]
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert not alias.name.startswith("keras_rep."), alias.name


def ids(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_nothing_points_back(path):
    for name in own_imports(path):
        assert rank(name) <= rank(name_of(path)), f"{path.name} → {name}"


def test_every_module_has_a_rank():
    assert {name_of(path) for path in MODULES} == set().union(*RANKS)


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_files_stay_readable(path):
    assert path.stem != "utils"
    assert len(path.read_text().splitlines()) <= 360


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_private_attributes_of_graphs_stay_in_one_file(path):
    if path.name == "graph.py":
        pytest.skip("this is the one")
    names = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert not names & {
        "_flatten_layers",
        "_functional",
        "_inbound_nodes",
        "_inputs_struct",
        "_keras_history",
        "_nodes_by_depth",
        "_outbound_nodes",
        "_outputs_struct",
    }


PUBLIC = [
    keras_rep,
    keras_rep.layers,
    keras_rep.quantize,
    keras_rep.rules,
    keras_rep.terms,
]


@pytest.mark.parametrize("module", PUBLIC, ids=str)
def test_public_objects_are_documented(module):
    for name in module.__all__:
        thing = getattr(module, name)
        if callable(thing):
            assert len(thing.__doc__.strip()) > 20, name


@pytest.mark.parametrize("module", PUBLIC, ids=str)
def test_all_names_what_is_public(module):
    tree = ast.parse(pathlib.Path(module.__file__).read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert imported <= set(module.__all__)


def test_the_contract():
    """Names that are not renamed or dropped."""
    assert {
        "CheckResult",
        "DeployError",
        "DeployReport",
        "Equivalence",
        "check",
        "deploy",
        "explain",
        "export_tflite",
        "layers",
        "quantize",
        "remove_residuals",
        "reparameterize",
        "rules",
        "verify",
    } <= set(keras_rep.__all__)
    assert {
        "calibrate",
        "compare",
        "correct_bias",
        "equalize",
        "fake_quantize",
        "repair",
    } <= set(keras_rep.quantize.__all__)
    assert {
        "ACBConv",
        "DBBConv",
        "DiracConv",
        "MobileOneConv",
        "OREPAConv",
        "QARepConv",
        "RMBlock",
        "RMBottleneck",
        "RMInvertedResidual",
        "RepConv",
    } <= set(keras_rep.layers.__all__)
