"""Structural re-parameterization for Keras 3.

Train with the layers of `keras_rep.layers`, then `deploy` the model: each of
them becomes one plain convolution with the same outputs.
"""

from keras_rep import layers, models, quantize, rules
from keras_rep.checking import CheckResult, LayerError, check
from keras_rep.deployment import deploy, explain, remove_residuals, verify
from keras_rep.errors import DeployError
from keras_rep.export.metadata import Metadata
from keras_rep.export.onnx import export_onnx
from keras_rep.export.tflite import export_tflite
from keras_rep.page import write_report
from keras_rep.reparameterization import reparameterize
from keras_rep.report import DeployReport, Equivalence

__all__ = [
    "CheckResult",
    "DeployError",
    "DeployReport",
    "Equivalence",
    "LayerError",
    "Metadata",
    "check",
    "deploy",
    "explain",
    "export_onnx",
    "export_tflite",
    "layers",
    "models",
    "quantize",
    "remove_residuals",
    "reparameterize",
    "rules",
    "verify",
    "write_report",
]
