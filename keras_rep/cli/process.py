"""The process in which a command runs: its backend, logs and signals."""

import contextlib
import importlib
import importlib.util
import logging
import os
import signal
import sys


@contextlib.contextmanager
def owned(options):
    """Takes the process for a command, which it was started for.

    It is started anew where Keras is on another backend than it asks for.
    Libraries write nothing to the error stream, unless it debugs.

    Args:
        options: The parsed options.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Where `python -m keras_rep` finds a user's modules, for `--custom`.
    sys.path.append(os.getcwd())
    if options.from_backend is not None:
        _restart_on(options.from_backend)
    with contextlib.nullcontext() if options.debug else _silenced():
        yield


@contextlib.contextmanager
def stoppable():
    """Lets SIGTERM raise `KeyboardInterrupt`, too, so that files are tidied."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_backend(wanted):
    """Raises `ValueError` if Keras runs on another backend."""
    received = importlib.import_module("keras").backend.backend()
    if received != wanted:
        raise ValueError(
            f"Keras does not run on '{wanted}'. Received: a process on "
            f"'{received}'. Expected one on '{wanted}'. Set KERAS_BACKEND="
            f"{wanted} in the environment."
        )


def _restart_on(backend):
    """Replaces this process by the same command on another backend.

    The backend is chosen when Keras is imported, which happens with the
    package and so before the arguments can be read. Pid, signals and exit code
    are those of one process.
    """
    if importlib.import_module("keras").backend.backend() == backend:
        return
    if importlib.util.find_spec(backend) is None:
        raise ValueError(
            f"Cannot run on '{backend}'. Received: a Python without the "
            f"package {backend}. Expected it to be installed. Run `pip install "
            f"'keras-rep[{backend}]'`."
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(
        sys.executable,
        [sys.executable, *sys.orig_argv[1:]],
        {**os.environ, "KERAS_BACKEND": backend},
    )


@contextlib.contextmanager
def _silenced():
    """Cuts off what libraries write past Python, which no log level stops.

    `sys.stderr` goes on to where it went.
    """
    logging.disable(logging.WARNING)
    sys.stderr.flush()
    original = sys.stderr
    number = original.fileno()
    with (
        open(os.dup(number), "w", 1, original.encoding) as ours,
        open(os.devnull, "wb") as nowhere,
    ):
        os.dup2(nowhere.fileno(), number)
        sys.stderr = ours
        try:
            yield
        finally:
            ours.flush()
            sys.stderr = original
            os.dup2(ours.fileno(), number)
            logging.disable(logging.NOTSET)
