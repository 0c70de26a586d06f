"""Converts a Keras model to a TFLite file, deployed.

    python tflite/convert.py model.keras model.tflite \
        --quantization int8 --data x_train.npy

The data are an array in a .npy file, or, for several inputs, a .npz file that
holds one array for each input under its name.
"""

import argparse
import pathlib
import sys
import zipfile

from command_line import UserError, exit_code


def load_model(path):
    """Loads a model that may have layers of keras_rep.

    Args:
        path: Name of a `.keras` file.

    Returns:
        A `keras.Model`.

    Raises:
        UserError: If there is no such file, or it cannot be loaded.
    """
    import keras

    import keras_rep.layers  # noqa: F401 (registers them)

    if not zipfile.is_zipfile(path):
        raise UserError(
            f"Cannot load '{path}'. Received: a path where there is no .keras "
            "file. Expected what `model.save('model.keras')` writes. Save the "
            "model with it."
        )
    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"Cannot load '{path}'. Received from Keras: {error}. Expected "
            "layers of Keras and keras_rep only. Call "
            "`keras_rep.export_tflite` where your own layers are defined."
        ) from error


def load_data(path):
    """Reads samples of a model's inputs.

    Args:
        path: Name of a `.npy` or `.npz` file, or `None`.

    Returns:
        An array, a dictionary of arrays, or `None`.

    Raises:
        UserError: If there is no such file, or it holds no numbers.
    """
    import numpy as np

    if path is None:
        return None
    try:
        content = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"Cannot read the samples in '{path}'. Received: {error}. Expected "
            "a .npy file with an array, or an .npz file with one for each "
            "input. Write it with `numpy.save`."
        ) from error
    if isinstance(content, np.ndarray):
        return content
    with content:
        return dict(content)


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Converts a Keras model to a TFLite file, deployed."
    )
    parser.add_argument("model", type=pathlib.Path, help="a .keras file")
    parser.add_argument("path", type=pathlib.Path, help="a .tflite file")
    parser.add_argument(
        "--quantization", help="float16, dynamic, int8 or int16x8"
    )
    parser.add_argument("--data", help=".npy or .npz file, for int8, int16x8")
    parser.add_argument(
        "--per-tensor", action="store_true", help="one scale for each kernel"
    )
    parser.add_argument("--input-type", help="int8, uint8, int16 or float32")
    parser.add_argument("--output-type", help="likewise")
    options = parser.parse_args(arguments)

    # It takes seconds, which `--help` need not.
    import keras_rep

    def work():
        keras_rep.export_tflite(
            load_model(options.model),
            options.path,
            quantization=options.quantization,
            representative_data=load_data(options.data),
            per_tensor=options.per_tensor,
            input_type=options.input_type,
            output_type=options.output_type,
        )
        print(f"{options.path}: {options.path.stat().st_size:,} bytes")
        return 0

    return exit_code(work, ValueError, keras_rep.DeployError)


if __name__ == "__main__":
    sys.exit(main())
