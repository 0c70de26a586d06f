"""Loading what a user names: models, and layers of the user's own."""

import importlib
import pathlib
import zipfile

import keras

# Registers the layers, so that Keras finds them.
from keras_rep import layers  # noqa: F401

SUFFIX = ".keras"
CONFIG = "config.json"
# What Keras raises for a file that it cannot make a model of.
ERRORS = (AttributeError, ImportError, KeyError, OSError, TypeError, ValueError)


def load_model(path, custom=()):
    """Loads a model without running code that its file may hold.

    Args:
        path: Name of a `.keras` file.
        custom: Names of layer classes, as for `load_class`.

    Returns:
        A `keras.Model`, which is not compiled.

    Raises:
        ValueError: If it cannot be loaded.
    """
    classes = {each.__name__: each for each in map(load_class, custom)}
    path = pathlib.Path(path)
    _check_archive(path)
    try:
        return keras.saving.load_model(
            path, custom_objects=classes, compile=False, safe_mode=True
        )
    except ERRORS as error:
        raise ValueError(
            f"Cannot load '{path}'. Received from Keras: "
            f"{type(error).__name__}: {_core(error)} Expected layers of Keras, "
            "of keras_rep or of `--custom`, and all of their weights. Pass "
            "`--custom module:Class` for each layer of your own, or save the "
            "model again."
        ) from error


def load_class(name):
    """Imports a layer class.

    Args:
        name: Its module and name, such as `"my_net.layers:Gate"`.

    Raises:
        ValueError: If there is no such class, or if it is no layer.
    """
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name.isidentifier():
        raise ValueError(
            f"Invalid name of a class. Received: --custom {name}. Expected a "
            "module and a class. Write for example `--custom "
            "my_net.layers:Gate`."
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"Cannot import a module of yours. Received: --custom {name}, and "
            f"{error}. Expected a module in the current folder or on "
            "PYTHONPATH. Install it, or set PYTHONPATH."
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, keras.Layer):
        received = "no such name" if found is None else f"{found!r}"
        raise ValueError(
            f"'{class_name}' of module '{module_name}' is no layer. Received: "
            f"{received}. Expected a subclass of `keras.Layer`. Name a class "
            "that the model's file holds."
        )
    return found


def _check_archive(path):
    """Raises `ValueError` if a file is not what `model.save` writes."""
    expected = "Expected a .keras file. Write it with `model.save('m.keras')`."
    if path.is_dir():
        received = "the path of a folder"
    elif not path.exists():
        received = "a path where there is no file"
    elif path.suffix != SUFFIX:
        # Keras' older formats are not safe to load in all of its versions.
        received = f"a name that ends in '{path.suffix}'"
    elif not zipfile.is_zipfile(path):
        received = "a file that is no zip archive, or not all of one"
    else:
        with zipfile.ZipFile(path) as archive:
            if CONFIG not in archive.namelist():
                received = f"an archive without {CONFIG}"
            elif b'"__lambda__"' in archive.read(CONFIG):
                raise ValueError(
                    f"Cannot load '{path}' safely. Received: a Lambda layer "
                    "with Python code in it. Expected none, since whoever "
                    "wrote the file would run code here. Make a layer class of "
                    "it, save the model again, and pass `--custom "
                    "module:Class`."
                )
            else:
                return
    raise ValueError(f"Cannot load '{path}'. Received: {received}. {expected}")


def _core(error):
    """What Keras says first about the innermost thing that failed."""
    text = str(error).rpartition("Exception encountered: ")[2].strip()
    line = text.partition("\n")[0] or "no message"
    return line if line.endswith(".") else f"{line}."
