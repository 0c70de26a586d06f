"""Int8 that keeps its accuracy: repair, calibrate, equalize, train.

`keras_rep.export_tflite(model, path, quantization="int8", ...)` does all of it
that needs no choice; these are its steps.
"""

from keras_rep.quantize.calibration import calibrate
from keras_rep.quantize.fake_quantization import fake_quantize

__all__ = [
    "calibrate",
    "fake_quantize",
]
