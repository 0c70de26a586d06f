"""Weights of PyTorch models, for the networks of this package."""

import collections
import pathlib
import re

import numpy as np

from keras_rep.errors import DeployError
from keras_rep.models import (
    naming_mobile,
    naming_plain,
    naming_repvgg,
    naming_resnet,
)

NAMINGS = (
    *naming_repvgg.NAMINGS,
    *naming_resnet.NAMINGS,
    *naming_mobile.NAMINGS,
    *naming_plain.NAMINGS,
)
# What a checkpoint holds that no network here has as a variable.
IGNORED = re.compile(
    r"(num_batches_tracked|id_tensor|weight_orepa_avg_avg|weight_orepa_prior"
    # Statistics for the deployed form of RMNets; identities of DiracNets.
    r"|running[12]\.running_(mean|var)|^eye[\d_]+)$"
)
# Under which names training scripts put the weights, the averaged ones first.
NESTS = (
    *("state_dict_ema", "model_ema", "ema", "state_dict"),
    *("model", "module", "params"),
)


def load_torch_checkpoint(model, path):
    """Loads the weights of a PyTorch model into a network of this package.

    The tensors may have the names of the official repository, of timm or of
    torchvision; whichever fits is found out. Nothing in the file is executed.

    Args:
        model: A network of `keras_rep.models`, not deployed. It is changed
            only if every tensor fits.
        path: Name of a file that ends in `.pth`, `.pt`, `.pt7`, `.tar`,
            `.safetensors` or `.npz`. PyTorch is needed for the first four.

    Raises:
        ValueError: If tensors are missing, left over, or of another shape; the
            message lists them.
        DeployError: If the file cannot be read.

    Example:
    ```python
    model = keras_rep.models.RepVGG("A0")
    keras_rep.models.load_torch_checkpoint(model, "RepVGG-A0-train.pth")
    ```
    """
    tensors = read_checkpoint(path)
    values = match(model, tensors)
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def read_checkpoint(path):
    """Reads the tensors of a file.

    Args:
        path: As for `load_torch_checkpoint`.

    Returns:
        Dictionary from names to numpy arrays, without the prefixes that
        wrappers for several devices add.

    Raises:
        ValueError: If there is no such file, or its name ends in another way.
        DeployError: If it cannot be read.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(
            f"Cannot read '{path}'. Received: a path where there is no file. "
            "Expected a checkpoint. Download it first."
        )
    readers = {
        ".npz": _read_npz,
        ".safetensors": _read_safetensors,
        **dict.fromkeys((".pth", ".pt", ".pt7", ".tar"), _read_torch),
    }
    if path.suffix not in readers:
        raise ValueError(
            f"Cannot read '{path}'. Received: a name that ends in "
            f"'{path.suffix}'. Expected one of {tuple(readers)}. Convert the "
            "file to .safetensors."
        )
    try:
        content = readers[path.suffix](path)
    except ImportError as error:
        raise DeployError(
            f"Cannot read '{path}'. Received: {error}. Expected the package "
            "that reads such files. Run `pip install torch safetensors`."
        ) from error
    # The readers' errors for a broken file have no other class in common.
    except Exception as error:
        raise DeployError(
            f"Cannot read '{path}'. Received: {type(error).__name__}: {error}. "
            "Expected a file of tensors only, which takes no code to read. "
            "Save the model's `state_dict()` again."
        ) from error
    return {_bare(name): value for name, value in _unnested(content).items()}


def match(model, tensors):
    """Finds the value of each variable of a model among tensors.

    Args:
        model: A network of `keras_rep.models`.
        tensors: Dictionary from names to numpy arrays.

    Returns:
        List of arrays, in the order of `model.variables`.

    Raises:
        ValueError: If tensors are missing, left over, or of another shape.
    """
    tensors = {
        name: value
        for name, value in tensors.items()
        if not IGNORED.search(name)
    }
    # The naming that knows most of the tensors is the one that is meant.
    naming = max(NAMINGS, key=lambda each: each.count(model, tensors))
    values, used, missing, misshapen = [], set(), [], []
    for variable in model.variables:
        names = naming.names_of(variable, tensors)
        used.update(names)
        absent = [name for name in names if name not in tensors]
        if absent or not names:
            missing += absent or [variable.path]
            continue
        value = naming.value_of(model, variable, [tensors[n] for n in names])
        if value.shape != tuple(variable.shape):
            shape = tensors[names[0]].shape
            misshapen.append(f"{names[0]} {shape}, not {variable.shape}")
        values.append(value)
    left_over = [name for name in tensors if name not in used]
    problems = {
        "missing": missing,
        "left over": left_over,
        "of another shape": misshapen,
    }
    found = {kind: names for kind, names in problems.items() if names}
    if found:
        listed = "; ".join(
            f"{len(names)} {kind}: {', '.join(names[:8])}"
            + (", …" if len(names) > 8 else "")
            for kind, names in found.items()
        )
        raise ValueError(
            f"The checkpoint does not fit model '{model.name}'. Received, as "
            f"read by the names of {naming.source}: {listed}. Expected a "
            "tensor for each weight and no other. Choose the variant and the "
            "number of classes that it was made for. Nothing was loaded."
        )
    return values


def _unnested(content):
    """The dictionary of tensors inside of what a training script saved."""
    for nest in NESTS:
        inner = content.get(nest)
        if isinstance(inner, collections.abc.Mapping):
            return _unnested(inner)
    arrays = {}
    for name, value in content.items():
        if hasattr(value, "detach"):
            value = value.detach().cpu().float().numpy()
        if isinstance(value, np.ndarray):
            arrays[name] = value
    return arrays


def _bare(name):
    """A name without what wrappers put in front."""
    for prefix in ("module.", "_orig_mod."):
        name = name.removeprefix(prefix)
    return name


def _read_npz(path):
    # numpy would leave a broken file open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def _read_safetensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


def _read_torch(path):
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)
