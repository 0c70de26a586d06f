"""The page: everything about the deployment of a model, in one HTML file."""

import collections.abc
import html
import importlib.metadata
import importlib.resources
import pathlib
import string
import sys

import keras

from keras_rep.export.files import check_target, write_atomically
from keras_rep.page.comparison import compare
from keras_rep.page.drawing import draw
from keras_rep.page.quantization import quantization_section
from keras_rep.page.tables import (
    files_table,
    guidelines_by_layer,
    guidelines_table,
    layers_table,
)
from keras_rep.runtime import latencies


def write_report(model, path, *, rules=None, files=None, quantization=None):
    """Writes an HTML page about the deployment of a model.

    It shows the graphs of the model and of its deployed form side by side;
    what becomes of each layer, with parameters, multiply-adds and memory
    access; figures for the four guidelines of ShuffleNetV2; and, for files
    that are given, their size and how long they take on LiteRT. It is one file
    that needs no network.

    Memory access is the number of elements that operations read and write for
    one sample: for each operation its inputs, its outputs and its weights. The
    page says what counts as an operation.

    Args:
        model: A built `keras.Model`. It is not changed. Layers that cannot be
            deployed stay, with the reason.
        path: Name of the new file, which ends in `.html`.
        rules: Rules to apply, as for `deploy`.
        files: Dictionary from labels to names of `.tflite` files, to be
            measured on this machine.
        quantization: A `keras_rep.quantize.QuantizationReport` to show, too.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        ValueError: If the file cannot be written, if the model is no Keras
            model, or if one of the files is missing or of another kind.
        DeployError: If the model cannot be traced, or LiteRT is not installed
            or cannot read one of the files.

    Example:
    >>> import keras
    >>> model = keras.Sequential(
    ...     [keras.Input((32, 32, 3)), RepConv(8, name="stem")]
    ... )
    >>> path = write_report(model, "report.html")

    Reference:

    - Ma et al. 2018, "ShuffleNet V2: Practical Guidelines for Efficient CNN
      Architecture Design", arXiv 1807.11164.
    """
    path = check_target(path, ".html")
    files = _check_files(files)
    comparison = compare(model, rules)
    page = _fill(
        "page.html",
        {
            **_parts(comparison, _measure(files)),
            "quantization": quantization_section(quantization),
        },
    )
    write_atomically(path, page.encode())
    return path


def _check_files(files):
    if files is None:
        return {}
    if not isinstance(files, collections.abc.Mapping):
        raise ValueError(
            f"Invalid files. Received: files={files!r}. Expected a dictionary "
            "from labels to names of .tflite files. Pass for example "
            "`files={'int8': 'model.tflite'}`."
        )
    for path in map(pathlib.Path, files.values()):
        if path.suffix != ".tflite" or not path.is_file():
            received = "another kind" if path.is_file() else "no such file"
            raise ValueError(
                f"Cannot measure '{path}'. Received: {received}. Expected a "
                ".tflite file. Write one with `keras_rep.export_tflite`."
            )
    return files


def _measure(files):
    """Label, size and `Latency` of each file."""
    if not files:
        return []
    sizes = [pathlib.Path(path).stat().st_size for path in files.values()]
    measured = latencies(list(files.values()))
    labels = map(str, files)
    return list(zip(labels, sizes, measured, strict=True))


def _fill(name, parts):
    return string.Template(_read(name)).substitute(parts)


def _read(name):
    folder = importlib.resources.files("keras_rep.page")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _parts(comparison, files):
    """What takes the places in the template."""
    shown = ""
    if files:
        shown = (
            '<section>\n<h2 id="files">Files</h2>\n'
            f"{files_table(files)}\n</section>"
        )
    return {
        "name": html.escape(comparison.report.model),
        "style": _read("page.css"),
        "script": _read("page.js"),
        "versions": html.escape(", ".join(_versions())),
        "totals": "\n".join(_totals(comparison)),
        "graphs": "\n".join(_graphs(comparison)),
        "layers": layers_table(comparison),
        "guidelines": guidelines_table(comparison),
        "by_layer": guidelines_by_layer(comparison),
        "files": shown,
    }


def _versions():
    yield f"keras_rep {importlib.metadata.version('keras-rep')}"
    yield f"Keras {keras.__version__}"
    backend = keras.backend.backend()
    version = getattr(sys.modules.get(backend), "__version__", "")
    yield f"on {backend} {version}".rstrip()


def _totals(comparison):
    before, after = comparison.before, comparison.after
    for name, pair in (
        ("layers", (before.layer_count, after.layer_count)),
        ("parameters", comparison.report.parameters),
        ("multiply-adds", comparison.report.multiply_adds),
        ("memory access", (before.cost.memory, after.cost.memory)),
    ):
        figure = " → ".join("?" if n is None else f"{n:,}" for n in pair)
        yield _total(name, figure, _change(*pair))
    result = comparison.equivalence
    verdict, kind = ("within", "good") if result.passed else ("above", "bad")
    yield _total(
        "error of the outputs",
        f"{result.max_rel_error:.1e}",
        f'<span class="{kind}">{verdict} {result.tolerance:.1e}</span>',
    )


def _change(before, after):
    if before is None or after is None:
        return "a size is unknown"
    if before == after:
        return "unchanged"
    return f"{after / before - 1:+.1%}" if before else "from nothing"


def _total(name, figure, change):
    return (
        f'<div><dt>{name}</dt><dd class="figure">{figure}</dd>'
        f'<dd class="change">{change}</dd></div>'
    )


def _graphs(comparison):
    rows = comparison.rows
    for title, side, is_before in (
        ("Before", comparison.before, True),
        ("After", comparison.after, False),
    ):
        states = [
            _state([rows[i] for i in indices], is_before)
            for indices in side.rows
        ]
        picture = draw(side.flow, side.rows, states, f"{title}: the graph")
        buttons = "".join(
            f'<button type="button" data-zoom="{action}" '
            f'aria-label="{title}: {label}">{sign}</button>'
            for action, label, sign in (
                ("out", "smaller", "−"),
                ("in", "larger", "+"),
                ("width", "as wide as the box", "width"),
                ("whole", "all at once", "all"),
            )
        )
        yield (
            f'<figure class="graph"><figcaption><b>{title}: '
            f"{side.layer_count} layers</b>{buttons}</figcaption>"
            f'<div class="view" tabindex="0" role="region" '
            f'aria-label="{title}: the graph, to scroll">{picture}</div>'
            "</figure>"
        )


def _state(rows, is_before):
    """The class of a box that belongs to some rows of the table."""
    if not any(row.report.rule for row in rows):
        return "kept"
    if is_before and not rows[0].costs[1].operations:
        return "dissolved"
    return "replaced"
