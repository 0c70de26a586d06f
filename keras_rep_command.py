"""Starts the command `keras-rep`, quietly.

Outside of the package, because importing that imports Keras and its backend,
which write to the error stream before any of our code could stop them.
"""

import contextlib
import importlib
import os
import sys


def start():
    """Runs the command that this process was started with.

    Returns:
        The exit code.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    is_debugging = "--debug" in sys.argv
    try:
        with contextlib.nullcontext() if is_debugging else _silenced():
            main = importlib.import_module("keras_rep.cli.main")
    except KeyboardInterrupt:
        return _complain("Interrupted. Nothing was written.")
    # Keras raises more than ImportError for a backend that it does not know.
    except Exception as error:
        if is_debugging:
            raise
        text = " ".join(str(error).split())
        backend = os.environ.get("KERAS_BACKEND", "not set")
        return _complain(
            f"Keras cannot start. Received: {type(error).__name__}: {text}. "
            "Expected a backend that is installed. Set KERAS_BACKEND, now "
            f"{backend}, to tensorflow, jax or torch."
        )
    return main.start()


def _complain(line):
    print(f"keras-rep: {line}", file=sys.stderr)
    return 2


@contextlib.contextmanager
def _silenced():
    """Sends what is written to the error stream, past Python too, nowhere."""
    number = sys.stderr.fileno()
    saved = os.dup(number)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), number)
        yield
    finally:
        os.dup2(saved, number)
        os.close(saved)
