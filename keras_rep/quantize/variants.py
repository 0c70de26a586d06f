"""Other ways to quantize a model, by simulation."""

import dataclasses

import numpy as np
from keras import tree

from keras_rep.difference import agreement, snr_db
from keras_rep.program import Program
from keras_rep.quantize.bias_correction import correct_bias
from keras_rep.quantize.calibration import calibrate
from keras_rep.quantize.equalization import equalize
from keras_rep.quantize.fake_quantization import WEIGHTS, fake_quantize
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.repairing import repair
from keras_rep.quantize.scales import Scale
from keras_rep.quantize.sites import find_sites

REMEDIES = ("none", "repair", "repair + equalize", "repair + correct bias")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to quantize a model.

    Attributes:
        weights: `"per_channel"` or `"per_tensor"`.
        method: Method of calibration.
        remedy: What was done to the model before.
        agreement: Share of samples with the class of the model in floating
            point.
        snr_db: Signal-to-noise ratio of the first output.
        saturated: Share of samples whose largest output is clipped.
    """

    weights: str
    method: str
    remedy: str
    agreement: float
    snr_db: float
    saturated: float

    @property
    def name(self):
        return f"{self.weights}, {self.method}, {self.remedy}"


def try_variants(model, data, expected, calibration):
    """Quantizes a model in all ways, and simulates each.

    Percentiles go with the margin of outputs, extremes without, as other tools
    have them.

    Args:
        model: A built `keras.Model`.
        data: Samples to compare on.
        expected: What the model returns for them, its first output.
        calibration: Samples to calibrate with.

    Returns:
        Tuple of `Variant`.
    """
    found = []
    for weights in WEIGHTS:
        for remedy in REMEDIES:
            remedied = _apply(remedy, model, calibration, weights)
            for method in ("min_max", "percentile"):
                margin = 2 if method == "percentile" else 1
                ranges = calibrate(
                    remedied, calibration, method=method, output_margin=margin
                )
                rounded = fake_quantize(remedied, ranges, weights=weights)
                outputs = rounded.predict(data, verbose=0)
                received = tree.flatten(outputs)[0]
                found.append(
                    Variant(
                        weights,
                        method,
                        remedy,
                        agreement(expected, received),
                        snr_db(expected, received),
                        share_of_largest(received, _largest(remedied, ranges)),
                    )
                )
    return tuple(found)


def share_of_largest(outputs, limit):
    """Share of samples whose largest output is the largest there is.

    Args:
        outputs: Array with samples along the first axis.
        limit: The largest number that an output can be.
    """
    highest = outputs.reshape(len(outputs), -1).max(1)
    return float(np.mean(highest >= limit * (1 - 1e-6)))


def _largest(model, ranges):
    """The largest number that a rounded model's first output can be."""
    program = Program(model)
    output = tree.flatten(program.outputs)[0]
    for site in find_sites(program).values():
        if output in site.tensors:
            return Scale.of(*(site.fixed or ranges[site.name])).bounds[1]
    return np.inf


def _apply(remedy, model, calibration, weights):
    if remedy == "none":
        return prepare(model)
    repaired = repair(model, calibration)
    if "equalize" in remedy:
        return equalize(repaired)
    if "bias" in remedy:
        return correct_bias(repaired, calibration, weights=weights)
    return repaired
