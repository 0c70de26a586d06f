"""What the scripts of this folder have in common on the command line."""

import sys


class UserError(Exception):
    """A file or a machine that is not what a script needs.

    The message says what was received, what is expected and how to mend it.
    """


def exit_code(work, *errors):
    """Runs a script's work, and says what the user can mend in one line.

    Args:
        work: Function without arguments that returns an exit code.
        *errors: Classes of errors, besides `UserError`, that are the user's.

    Returns:
        The exit code: that of the work, or 2 after such an error.
    """
    try:
        return work()
    except (UserError, *errors) as error:
        print(" ".join(f"error: {error}".split()), file=sys.stderr)
        return 2
