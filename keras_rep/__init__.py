"""Structural re-parameterization for Keras 3.

Train with the layers of `keras_rep.layers`, then `deploy` the model: each of
them becomes one plain convolution with the same outputs.
"""

from keras_rep import layers as layers
from keras_rep.deployment import deploy as deploy
from keras_rep.deployment import explain as explain
from keras_rep.deployment import verify as verify
from keras_rep.errors import DeployError as DeployError
from keras_rep.export.tflite import export_tflite as export_tflite
from keras_rep.report import DeployReport as DeployReport
from keras_rep.report import Equivalence as Equivalence
from keras_rep.runtime import CheckResult as CheckResult
from keras_rep.runtime import check as check
