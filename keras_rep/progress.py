"""Lines of progress on the error stream, if that is a terminal."""

import contextlib
import sys


def _console():
    from rich.console import Console

    return Console(stderr=True)


@contextlib.contextmanager
def count(title):
    """Yields a function that advances a counter of visits.

    Args:
        title: What is done.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}: {task.completed} visits"),
    )
    with Progress(*columns, console=_console(), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda: progress.advance(task)


def track(items, title):
    """Yields items, with a bar.

    Args:
        items: A sequence.
        title: What is done with them.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from rich import progress

    yield from progress.track(items, title, console=_console(), transient=True)
