"""The command `keras-rep`: from arguments to an exit code.

Keras is not imported here: `keras_rep.cli.process` may have to choose its
backend first, once the arguments are known.
"""

import contextlib
import importlib
import os
import sys
import traceback
import warnings

from keras_rep.cli.parser import make_parser
from keras_rep.cli.process import owned, stoppable

FAILURE = 2
# A converter's own words can fill pages, the end says how to mend it.
LONGEST = 1200


def start():
    """Runs the command that this process was started with.

    Returns:
        The exit code.
    """
    return main(sys.argv[1:], owned)


def main(arguments, setting=contextlib.nullcontext):
    """Runs a command; what it returns goes to stdout, an error to stderr.

    Args:
        arguments: List of strings, as behind `keras-rep` in a shell.
        setting: Function from the parsed options to a context in which the
            command runs.

    Returns:
        The exit code: 0, or 2 after an error or an interrupt.

    Raises:
        SystemExit: Where `--help` or `--version` is all that is asked for.
    """
    try:
        options = make_parser().parse_args(arguments)
        with stoppable(), setting(options), _readable_warnings():
            commands = importlib.import_module("keras_rep.cli.commands")
            # What libraries print must not get into a JSON document.
            with contextlib.redirect_stdout(sys.stderr):
                outcome = commands.COMMANDS[options.command](options)
            print(outcome.to_json() if options.json else outcome.text)
            sys.stdout.flush()
    except KeyboardInterrupt:
        _complain("Interrupted. No file is left half written.", arguments)
    except BrokenPipeError:
        # The reader has seen enough. Python flushes once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # Whatever Keras, the converters and the runtimes raise is for the user one
    # line, and for a developer `--debug`.
    except Exception as error:
        _complain(_describe(error), arguments)
    else:
        return 0
    return FAILURE


def _describe(error):
    """An exception as one line."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        name = f" '{error.filename}'" if error.filename else ""
        text = (
            f"The system refused to read or write{name}. Received: "
            f"{error.strerror}. Expected enough space and permission. Choose "
            "another place, or make room."
        )
    elif not isinstance(error, ValueError):
        text = (
            f"{type(error).__name__}: {text or 'no message'}. Run it again "
            "with --debug for the traceback."
        )
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    return text


def _complain(line, arguments):
    if "--debug" in arguments:
        traceback.print_exc()
    print(f"keras-rep: {line}", file=sys.stderr)


@contextlib.contextmanager
def _readable_warnings():
    """Shows a warning as one line, without the code that it comes from."""

    def show(message, *_, **__):
        text = " ".join(str(message).split())
        print(f"keras-rep: warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
