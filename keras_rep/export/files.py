"""Writing files whole or not at all."""

import os
import pathlib
import tempfile


def check_target(path, suffix):
    """Checks that a file can be written, before the work begins.

    Args:
        path: String or path of the file.
        suffix: Ending that the file's name must have.

    Returns:
        A `pathlib.Path`.

    Raises:
        ValueError: If it cannot.
    """
    path = pathlib.Path(path)
    if path.suffix != suffix:
        raise ValueError(
            f"Invalid file name. Received: path='{path}'. Expected a name that "
            f"ends in '{suffix}'. Use '{path.with_suffix(suffix)}'."
        )
    if path.is_dir():
        raise ValueError(
            f"Cannot write '{path}'. Received: the path of a folder. Expected "
            "that of a file. Add a file name."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"Cannot write '{path}'. Received: a path in a folder that does "
            f"not exist, '{path.parent}'. Expected an existing folder. Create "
            "it first."
        )
    try:
        # Permissions say nothing of read-only disks, or to root.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"Cannot write '{path}'. Received from the system: "
            f"{error.strerror}. Expected a folder that takes new files. Choose "
            "another one."
        ) from error
    return path


def write_atomically(path, content):
    """Writes a file under another name first, so that no half file remains.

    Args:
        path: `pathlib.Path` of the file.
        content: Bytes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
