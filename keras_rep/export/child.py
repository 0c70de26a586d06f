"""The child process on the TensorFlow backend: converts what lies in a folder.

`keras_rep.export.conversion` writes the folder and reads the result.
"""

import contextlib
import json
import pathlib
import sys

import keras
import numpy as np

from keras_rep.errors import DeployError
from keras_rep.export.conversion import convert_here


def main(folder):
    """Converts a model, and writes `content`, or `error` with a message."""
    folder = pathlib.Path(folder)
    model = keras.models.load_model(folder / "model.keras", compile=False)
    samples = None
    with contextlib.suppress(FileNotFoundError):
        archive = np.load(folder / "samples.npz")
        samples = [archive[f"arr_{i}"] for i in range(len(archive.files))]
    settings = (folder / "settings.json").read_text()
    converter, names, options = json.loads(settings)
    try:
        content = convert_here(model, converter, names, samples, options)
    except DeployError as error:
        (folder / "error").write_text(str(error))
    else:
        (folder / "content").write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1])
