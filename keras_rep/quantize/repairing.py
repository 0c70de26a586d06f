"""Kernels without the rows that read nothing."""

import numpy as np

from keras_rep.affine import LINEAR, reads_image_only, scale_inputs
from keras_rep.program import Program
from keras_rep.quantize.channels import input_channels
from keras_rep.quantize.preparing import prepare


def repair(model, data, *, tolerance=1e-6):
    """Removes the weights of input channels that never change.

    A channel that a rectifier always sets to zero has no variance, so that a
    batch normalization of it multiplies by γ/√ε, hundreds, and in the deployed
    kernel that gain stands beside weights of ordinary size: all others are
    rounded to nothing. But what such a channel is multiplied by does not
    matter. Its weights become zero; if it is constant but not zero, the bias
    takes it up.

    The outputs for the data stay as they are. Run it before `calibrate`;
    `keras_rep.export_tflite` does.

    Args:
        model: A built `keras.Model`. It is not changed.
        data: Samples, as for `calibrate`; some hundred.
        tolerance: What counts as no change, relative to the largest value in
            any of a layer's channels.

    Returns:
        A new plain model, deployed.

    Raises:
        ValueError: If the data does not fit.
        DeployError: If the model cannot be deployed.

    Example:
    ```python
    repaired = keras_rep.quantize.repair(model, x_train[:500])
    ranges = keras_rep.quantize.calibrate(repaired, x_train[:500])
    ```

    Reference:

    - Chu et al. 2022, "Make RepVGG Greater Again: A Quantization-aware
      Approach", arXiv 2212.01593, on where the gains come from.
    """
    prepared = prepare(model)
    found = input_channels(prepared, data)
    for call in Program(prepared).calls():
        layer = call.layer
        if type(layer) not in LINEAR or layer.name not in found:
            continue
        channels = found.pop(layer.name)
        largest = max(np.abs(channels.low).max(), np.abs(channels.high).max())
        still = channels.high - channels.low <= tolerance * largest
        value = np.where(still, channels.mean, 0.0)
        value[np.abs(value) <= tolerance * largest] = 0.0
        if not reads_image_only(layer, call.inputs[0].shape):
            # The zeros around the image are no part of the channel.
            still &= value == 0
        if still.any():
            value = np.where(still, value, 0.0)
            weights = scale_inputs(
                layer, layer.get_weights(), np.where(still, 0.0, 1.0), value
            )
            layer.set_weights(weights)
    return prepared
