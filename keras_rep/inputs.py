"""Arrays for the inputs of a model: made at random, or checked."""

import itertools

import numpy as np
from keras import ops, tree

from keras_rep import graph


def random_inputs(model):
    """One random sample for a model.

    Args:
        model: A built `keras.Model`.

    Returns:
        The structure of the model's inputs, as tensors. Sizes that the model
        leaves open are 64, 96, 64, 96 and so on; integers are 0 or 1.
    """
    generator = np.random.default_rng(0)

    def sample(spec):
        sizes = itertools.cycle((64, 96))
        batch, *rest = spec.shape
        shape = [batch or 1, *(n or next(sizes) for n in rest)]
        values = generator.normal(size=shape).astype("float32")
        if "float" not in spec.dtype:
            values = (values > 0).astype("float32")
        return ops.convert_to_tensor(values, spec.dtype)

    return tree.map_structure(sample, graph.input_specs(model))


def flat_arrays(model, data, name):
    """Checks samples for a model's inputs.

    Args:
        model: A built `keras.Model`.
        data: Arrays in the structure of the model's inputs, with samples along
            the first axis.
        name: What the caller's user calls `data`.

    Returns:
        A list of numpy arrays, in the order of the model's inputs.

    Raises:
        ValueError: If structure or shapes do not fit, if there is no sample,
            or if a value is not finite.
    """
    specs = graph.input_specs(model)
    if isinstance(specs, list) and len(specs) == 1 and hasattr(data, "shape"):
        data = [data]
    try:
        tree.assert_same_structure(specs, data)
    except (TypeError, ValueError) as error:
        expected = tree.map_structure(lambda spec: spec.shape, specs)
        raise ValueError(
            f"`{name}` does not fit the inputs of model '{model.name}'. "
            f"Received: a {type(data).__name__}. Expected arrays in the "
            f"structure {expected}. Pass what you would pass to "
            "`model.predict`."
        ) from error
    arrays = [np.asarray(array) for array in tree.flatten(data)]
    for array in arrays:
        if array.dtype.kind in "OSU":
            raise ValueError(
                f"`{name}` is not made of numbers. Received: values of type "
                f"{array.dtype}. Expected arrays of numbers. Load the data "
                "first."
            )
    for array, spec in zip(arrays, tree.flatten(specs), strict=True):
        fits = array.ndim == len(spec.shape) and all(
            expected in (None, received)
            for expected, received in zip(
                spec.shape[1:], array.shape[1:], strict=True
            )
        )
        if not fits or not len(array):
            raise ValueError(
                f"`{name}` does not fit the inputs of model '{model.name}'. "
                f"Received: an array of shape {array.shape}. Expected shape "
                f"{('samples', *spec.shape[1:])} with at least one sample. "
                "Preprocess the data as for training."
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"`{name}` has values that are not finite. Received: an array "
                f"of shape {array.shape} with NaN or infinity. Expected finite "
                "numbers. Remove or repair these samples."
            )
    if len({len(array) for array in arrays}) > 1:
        raise ValueError(
            f"`{name}` has inputs of different lengths. Received: "
            f"{[len(array) for array in arrays]} samples. Expected equally "
            "many for every input. Cut them to one length."
        )
    return arrays


def sample_batches(model, data, name, size):
    """Yields samples for a model's inputs, a few at a time.

    Args:
        model: A built `keras.Model`.
        data: Arrays in the structure of the model's inputs, or an iterable of
            batches of them, which is read once.
        name: What the caller's user calls `data`.
        size: Largest number of samples in a batch.

    Yields:
        Lists of numpy arrays, in the order of the model's inputs.

    Raises:
        ValueError: As for `flat_arrays`, or if there is no batch.
    """
    is_structure = isinstance(data, dict | list | tuple | str)
    if is_structure or hasattr(data, "shape"):
        data = [data]
    elif not hasattr(data, "__iter__"):
        raise ValueError(
            f"`{name}` is not made of samples. Received: {data!r}. Expected "
            "arrays in the structure of the model's inputs, or an iterable of "
            "batches of them. Pass what you would pass to `model.predict`."
        )
    batch = None
    for batch in data:
        arrays = flat_arrays(model, batch, name)
        for start in range(0, len(arrays[0]), size):
            yield [array[start : start + size] for array in arrays]
    if batch is None:
        raise ValueError(
            f"`{name}` holds no batch. Received: an empty iterable. Expected "
            "some hundred samples. If it is an iterator, make a new one: it "
            "may have been used up."
        )
