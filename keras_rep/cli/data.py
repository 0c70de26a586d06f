"""Samples for a model, out of files."""

import dataclasses
import importlib.util
import pathlib

import keras
import numpy as np
from keras import tree

from keras_rep import graph
from keras_rep.inputs import flat_arrays
from keras_rep.progress import track

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba"}
# What numpy and Pillow raise for a file that they cannot read.
ARRAY_ERRORS = (EOFError, OSError, ValueError)
IMAGE_ERRORS = (OSError, SyntaxError, ValueError)


@dataclasses.dataclass(frozen=True)
class Normalization:
    """What turns values of a file into those that a model was trained on.

    Attributes:
        scale: List of one factor, or of one for each channel; or `None`.
        mean: What is subtracted then, likewise.
        std: What it is divided by then, likewise.
    """

    scale: list[float] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None

    def __call__(self, array):
        if self == Normalization():
            return array
        values = array.astype("float32")
        scale, mean, std = (
            _along_channels(numbers or [neutral], array.shape)
            for numbers, neutral in (
                (self.scale, 1.0),
                (self.mean, 0.0),
                (self.std, 1.0),
            )
        )
        if not std.all():
            raise ValueError(
                f"Invalid value for --std. Received: {self.std}. Expected no "
                "zero, because values are divided by it. Pass another number."
            )
        return (values * scale - mean) / std


def load_samples(path, model, normalization, limit=None):
    """Loads samples for a model.

    Args:
        path: Name of a `.npy` or `.npz` file, or of a folder of images.
        model: A built `keras.Model`.
        normalization: A `Normalization`.
        limit: Number of samples to take; `None` for all.

    Returns:
        Arrays in the structure of the model's inputs.

    Raises:
        ValueError: If they cannot be read, or do not fit the model.
    """
    path = pathlib.Path(path)
    specs = graph.input_specs(model)
    names = graph.input_names(model)
    if path.is_dir():
        arrays = [_load_images(path, tree.flatten(specs), limit)]
    else:
        arrays = _load_arrays(path, names)
    arrays = [
        normalization(array[:limit] if array.ndim else array)
        for array in arrays
    ]
    if len(arrays) != len(names):
        raise ValueError(
            f"'{path}' does not fit the inputs of model '{model.name}'. "
            f"Received: one array. Expected one for each of {names}. Write "
            "them to a .npz file by these names, with `numpy.savez`."
        )
    is_plain = len(names) == 1 and not isinstance(specs, dict)
    data = arrays[0] if is_plain else tree.pack_sequence_as(specs, arrays)
    flat_arrays(model, data, str(path))
    return data


def _load_arrays(path, names):
    """A list of arrays, in the order of the names if there are several."""
    if not path.exists():
        raise ValueError(
            f"Cannot read '{path}'. Received: a path where there is nothing. "
            "Expected a .npy file, a .npz file or a folder of images. Check "
            "--data."
        )
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return [content]
        with content:
            arrays = {name: content[name] for name in content.files}
    except ARRAY_ERRORS as error:
        raise ValueError(
            f"Cannot read '{path}'. Received from numpy: {error}. Expected a "
            ".npy or .npz file of numbers, nothing pickled. Write it with "
            "`numpy.save` or `numpy.savez`."
        ) from error
    if len(arrays) == len(names) == 1:
        return list(arrays.values())
    if not set(names) <= set(arrays):
        raise ValueError(
            f"'{path}' does not hold the model's inputs. Received: arrays with "
            f"the names {sorted(arrays)}. Expected {names}. Use these names in "
            "`numpy.savez`."
        )
    return [arrays[name] for name in names]


def _load_images(folder, specs, limit):
    """All images of a folder, in the order of their names, as one array."""
    if importlib.util.find_spec("PIL") is None:
        raise ValueError(
            "Cannot read images. Received: a Python without Pillow. Expected "
            "it for a folder of images. Run `pip install pillow`, or pass a "
            ".npy file."
        )
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGES)
    if not paths:
        raise ValueError(
            f"'{folder}' holds no image. Received: a folder without files that "
            f"end in one of {IMAGES}. Expected images. Name the folder that "
            "they lie in; folders inside it are not searched."
        )
    layout, height, width, channels = _image_format(specs)
    images = []
    for path in track(paths[:limit], "reading images"):
        try:
            image = keras.utils.load_img(
                path,
                color_mode=COLOR_MODES[channels],
                target_size=(height, width),
                interpolation="bilinear",
            )
        except IMAGE_ERRORS as error:
            raise ValueError(
                f"Cannot read '{path}'. Received from Pillow: {error}. "
                "Expected a whole image. Repair or remove it."
            ) from error
        images.append(keras.utils.img_to_array(image, layout))
    return np.stack(images)


def _image_format(specs):
    """Layout, height, width and channels of the images that a model takes."""
    shapes = [spec.shape for spec in specs]
    if len(shapes) == 1 and len(shapes[0]) == 4:
        _, *sizes = shapes[0]
        for layout, (height, width, channels) in {
            "channels_last": sizes,
            "channels_first": (*sizes[1:], sizes[0]),
        }.items():
            if channels in COLOR_MODES and height and width:
                return layout, height, width, channels
    raise ValueError(
        f"The model does not take a folder of images. Received: inputs of "
        f"shapes {shapes}. Expected one, of known height and width, with 1, 3 "
        "or 4 channels. Pass a .npy or .npz file."
    )


def _along_channels(numbers, shape):
    """Numbers as an array that broadcasts over samples of a shape."""
    array = np.asarray(numbers, "float32")
    if len(numbers) in (1, shape[-1] if shape else 1):
        return array
    if len(shape) == 4 and len(numbers) == shape[1]:
        return array[:, np.newaxis, np.newaxis]
    raise ValueError(
        f"Cannot normalize. Received: the numbers {numbers} for an array of "
        f"shape {shape}. Expected one number, or one for each channel. Check "
        "--scale, --mean and --std."
    )
