"""Int8 that keeps its accuracy: repair, calibrate, equalize, train.

`keras_rep.export_tflite(model, path, quantization="int8", ...)` does all of it
that needs no choice; these are its steps.
"""

from keras_rep.quantize.bias_correction import correct_bias
from keras_rep.quantize.calibration import METHODS, calibrate
from keras_rep.quantize.channel_cap import ChannelCap
from keras_rep.quantize.comparison import QuantizationReport, compare
from keras_rep.quantize.equalization import equalize
from keras_rep.quantize.fake_quantization import (
    WEIGHTS,
    fake_quantize,
    is_fake_quantized,
)
from keras_rep.quantize.health import KernelHealth, kernel_health
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.repairing import repair
from keras_rep.quantize.variants import Variant

__all__ = [
    "METHODS",
    "WEIGHTS",
    "ChannelCap",
    "KernelHealth",
    "QuantizationReport",
    "Variant",
    "calibrate",
    "compare",
    "correct_bias",
    "equalize",
    "fake_quantize",
    "is_fake_quantized",
    "kernel_health",
    "prepare",
    "repair",
]
