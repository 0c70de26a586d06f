"""Finding the ranges of a model's tensors."""

import warnings

import keras
import numpy as np

from keras_rep.errors import DeployError
from keras_rep.inputs import sample_batches
from keras_rep.program import Program
from keras_rep.quantize.data_free import normal_ranges
from keras_rep.quantize.histogram import Histogram
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.scales import coarse
from keras_rep.quantize.sites import find_sites, moves

METHODS = ("percentile", "min_max", "mse", "batch_norm")
# Samples that are computed at once: what they return is kept for a moment.
BATCH = 8


def calibrate(
    model,
    data=None,
    *,
    method="percentile",
    percentile=0.9999,
    output_margin=2,
    input_range=None,
):
    """Finds the range of every tensor that an integer file rounds.

    What the model returns, and what goes into a softmax or sigmoid at its end,
    gets the largest range seen with a margin above: where the winning logits
    of two classes are clipped to one number, the prediction is lost. The
    method counts for all others.

    Args:
        model: A built `keras.Model`. It is not changed. Its deployed form
            has the same ranges.
        data: Samples, preprocessed as for training: arrays in the structure of
            the model's inputs, or an iterable of batches of them, which is
            read once. A hundred are enough. Not for `"batch_norm"`.
        method: `"percentile"` leaves out the rarest values, `"min_max"` none,
            `"mse"` takes the range with the least square error, and
            `"batch_norm"` takes no data: means and deviations that the batch
            normalizations learned give the ranges, so the model must not be
            deployed yet.
        percentile: Share of the values that a range holds on either side, for
            `"percentile"`.
        output_margin: Factor for the upper bound of the outputs' ranges.
        input_range: Smallest and largest value of the inputs, for
            `"batch_norm"`.

    Returns:
        Dictionary from the name of a layer or input to its range, a list of
        two numbers. It can be edited, and kept as JSON. Bounds are rounded
        outwards, by less than two percent, so that all backends find the same.

    Raises:
        ValueError: If an argument or the data does not fit.
        DeployError: If the model cannot be deployed, or returns numbers that
            are not finite.

    Example:
    >>> import keras
    >>> import numpy as np
    >>> model = keras.Sequential(
    ...     [keras.Input((8, 8, 3), name="image"), RepConv(4, name="conv")]
    ... )
    >>> data = np.random.default_rng(0).uniform(size=(20, 8, 8, 3))
    >>> sorted(calibrate(model, data))
    ['conv', 'image']
    """
    _check_arguments(data, method, percentile, output_margin, input_range)
    prepared = prepare(model)
    sites = {
        name: site
        for name, site in find_sites(Program(prepared)).items()
        if not site.fixed
    }
    if method == "batch_norm":
        found = normal_ranges(model, input_range)
    else:
        choose = {
            "percentile": lambda x: x.percentile(percentile),
            "min_max": lambda x: (x.low, x.high),
            "mse": lambda x: x.least_squares(),
        }
        histograms = _histograms(prepared, sites, data)
        found = {
            name: choose["min_max" if site.is_output else method](
                histograms[name]
            )
            for name, site in sites.items()
        }
    margins = {name: output_margin for name in sites if sites[name].is_output}
    return {
        name: _bounded(site, found[name], margins.get(name, 1))
        for name, site in sites.items()
    }


def _bounded(site, limits, margin):
    """A range in a form to be written down.

    Args:
        site: The `Site`.
        limits: The smallest and the largest value.
        margin: Factor for the upper one.

    Returns:
        List of two numbers, zero being between them.
    """
    low, high = limits
    low, high = coarse(min(low, 0.0), max(high * margin, 0.0))
    return [max(low, min(site.bounds[0], 0.0)), min(high, site.bounds[1])]


def _histograms(prepared, sites, data):
    """Dictionary from the names of sites to the `Histogram` of each."""
    watched = {
        name: [x.spec for x in site.tensors if _is_computed(x, site)]
        for name, site in sites.items()
    }
    probe = keras.Model(prepared.inputs, watched)
    histograms = {name: Histogram() for name in watched}
    count = 0
    extremes: set = set()
    for batch in sample_batches(prepared, data, "data", BATCH):
        for name, arrays in probe.predict_on_batch(batch).items():
            for array in arrays:
                histograms[name].add(_finite(array, name))
        count += len(batch[0])
        for index, array in enumerate(batch):
            extremes |= {(index, array.min()), (index, array.max())}
    # One value for each input.
    _warn_of_few(count, is_constant=len(extremes) == len(prepared.inputs))
    return histograms


def _is_computed(tensor, site):
    """Whether a tensor has values that no other one of its site has."""
    call = tensor.producer
    if call is None or not moves(call):
        return True
    return not set(call.inputs) <= set(site.tensors)


def _finite(array, name):
    if not np.isfinite(array).all():
        raise DeployError(
            f"Cannot calibrate '{name}'. Received: values that are not finite, "
            "from samples that are. Expected a model that returns numbers. "
            "Look for exploding weights, or for a division by zero."
        )
    return array


def _warn_of_few(count, is_constant):
    if count == 1:
        warnings.warn(
            "The ranges come from a single sample. Other samples will leave "
            "them. Calibrate with about a hundred.",
            stacklevel=3,
        )
    elif is_constant:
        warnings.warn(
            f"The ranges come from {count} samples with one value throughout. "
            "Real samples will leave them. Calibrate with data as for "
            "training.",
            stacklevel=3,
        )


def _check_arguments(data, method, percentile, output_margin, input_range):
    if method not in METHODS:
        raise ValueError(
            f"Unknown method of calibration. Received: method={method!r}. "
            f"Expected one of {METHODS}. Leave it out if in doubt."
        )
    if (data is None) != (method == "batch_norm"):
        received = "no data" if data is None else "data"
        raise ValueError(
            f"Data and method do not go together. Received: {received} and "
            f"method={method!r}. Expected data for every method but "
            "'batch_norm'. Pass about a hundred samples as `data`, or that "
            "method without data."
        )
    if not 0.5 < percentile <= 1:
        raise ValueError(
            f"Invalid percentile. Received: percentile={percentile!r}. "
            "Expected a share of the values, above 0.5 and up to 1. Pass 0.999 "
            "for 99.9 %."
        )
    if not output_margin >= 1:
        raise ValueError(
            f"Invalid margin. Received: output_margin={output_margin!r}. "
            "Expected a factor of 1 or more. Pass 1 for no margin."
        )
    if (input_range is None) != (method != "batch_norm"):
        raise ValueError(
            "Range of the inputs and method do not go together. Received: "
            f"input_range={input_range!r} and method={method!r}. Expected "
            "both for 'batch_norm', which sees no image, and no range else. "
            "Pass (-1, 1) for images that are scaled so."
        )
    if input_range is not None and not input_range[0] < input_range[1]:
        raise ValueError(
            f"Invalid range of the inputs. Received: input_range="
            f"{input_range!r}. Expected a smaller and a larger number. Pass "
            "(-1, 1) for images that are scaled so."
        )
