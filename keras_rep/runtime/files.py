"""Reading files that are to be run."""

import pathlib


def read_file(file):
    """Reads a file, given by its name or as its content.

    Args:
        file: Name of a file, or bytes.

    Returns:
        A name for messages, and the bytes.

    Raises:
        ValueError: If there is no such file.
    """
    if isinstance(file, bytes):
        return "the new file", file
    path = pathlib.Path(file)
    if not path.is_file():
        raise ValueError(
            f"Cannot run '{path}'. Received: a path where there is no file. "
            "Expected a file that was exported. Write one with "
            "`keras_rep.export_tflite` or `keras_rep.export_onnx`."
        )
    return str(path), path.read_bytes()
