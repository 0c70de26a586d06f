"""Biases that make up for what rounding adds to every output."""

import numpy as np

from keras_rep.affine import LINEAR, TRANSPOSED, scale_inputs
from keras_rep.program import Program
from keras_rep.quantize.channels import input_channels
from keras_rep.quantize.checks import check_choice
from keras_rep.quantize.fake_quantization import WEIGHTS
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.scales import round_weights
from keras_rep.quantize.weights import kernels


def correct_bias(model, data, *, weights="per_channel"):
    """Subtracts from each bias what rounded weights add on average.

    The error of a kernel times the mean of its inputs is the same for every
    pixel, so that the bias can take it back. Rounding more accurately in that
    sense, but the deployed model in floating point is no longer the same.

    Args:
        model: A built `keras.Model`. It is not changed.
        data: Samples, as for `calibrate`.
        weights: How kernels will be rounded, as for `fake_quantize`.

    Returns:
        A new plain model, deployed, with other biases.

    Raises:
        ValueError: If an argument or the data does not fit.
        DeployError: If the model cannot be deployed.

    Example:
    ```python
    corrected = keras_rep.quantize.correct_bias(model, x_train[:500])
    ```

    Reference:

    - Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization
      and Bias Correction", arXiv 1906.04721.
    """
    check_choice("weights", weights, WEIGHTS)
    prepared = prepare(model)
    found = input_channels(prepared, data)
    for call in Program(prepared).calls():
        layer = call.layer
        if type(layer) not in LINEAR or type(layer) in TRANSPOSED:
            continue
        channels = found.pop(layer.name, None)
        if channels is None:
            continue
        kernel, bias = layer.get_weights()
        ((_, axes),) = kernels(layer)
        if weights == "per_tensor":
            axes = tuple(range(kernel.ndim))
        error = round_weights(kernel, axes) - kernel
        ones = np.ones_like(channels.mean)
        _, shift = scale_inputs(
            layer, [error, np.zeros(len(bias))], ones, channels.mean
        )
        layer.set_weights([kernel, bias - shift])
    return prepared
