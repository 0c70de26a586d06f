"""What a command leaves behind: a file, and lines or a document to read."""

import dataclasses
import json
import math
import os
import shutil
import sys

from keras_rep.export.files import check_target

# Where the output is no terminal.
WIDTH = 120


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a command has to say.

    Attributes:
        data: Dictionary for machines; JSON can hold its values.
        text: Lines for people.
    """

    data: dict
    text: str

    def to_json(self):
        """The data as a JSON document."""
        return json.dumps(_finite(self.data), indent=2, ensure_ascii=False)


def check_output(path, suffix, *, force):
    """Checks that a file can be written, before the work begins.

    Args:
        path: Name of the file.
        suffix: Ending that it must have.
        force: Whether it may exist.

    Returns:
        A `pathlib.Path`.

    Raises:
        ValueError: If it cannot.
    """
    path = check_target(path, suffix)
    if path.exists() and not force:
        raise ValueError(
            f"'{path}' exists. Received: the name of a file that would be "
            "replaced. Expected a new name. Choose another one, or pass "
            "`--force`."
        )
    return path


def save_atomically(model, path):
    """Saves a model under another name first, so that no half file remains.

    Args:
        model: A `keras.Model`.
        path: `pathlib.Path` of a `.keras` file.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        model.save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def width():
    """Number of characters in a line of the output."""
    if sys.__stdout__ is None or not sys.__stdout__.isatty():
        return WIDTH
    return shutil.get_terminal_size().columns


def draw(title, columns, rows):
    """A table as text.

    Args:
        title: Line on top of it.
        columns: Names of the columns. All but the first are aligned right.
        rows: Lists of strings.
    """
    from rich.console import Console
    from rich.table import Table

    first, *others = columns
    table = Table(title=title)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    console = Console(width=width(), markup=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip("\n")


def _finite(value):
    """A value with `None` for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
