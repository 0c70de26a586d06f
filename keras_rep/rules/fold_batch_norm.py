import keras
import numpy as np
from keras import layers

from keras_rep.errors import Skip
from keras_rep.kernel import Kernel, batch_norm_affine
from keras_rep.terms import read_numpy

FOLDABLE = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.Dense,
)


def fold_batch_norm(call):
    """`BatchNormalization(convolution(x))` → `convolution(x)`.

    The convolution gets the kernel `K·g` and the bias `b·g + β − μ·g`, with
    `g = γ / √(σ² + ε)`. A `Dense` layer counts as a convolution.
    """
    norm = call.operation
    if type(norm) is not layers.BatchNormalization:
        return None
    producer = call.producer(call.args[0])
    _refuse(call, producer)
    convolution = producer.operation
    folded = call.once(lambda: _with_bias(convolution), producer.source, norm)
    outputs = call.emit(
        folded,
        *producer.args,
        source=producer.source,
        weights=lambda: _weights(convolution, norm),
    )
    call.replaces(producer, folded)
    return outputs


def _refuse(call, producer):
    norm = call.operation
    if call.is_pinned_to_training:
        raise Skip(
            "it is called with `training=True`, so it always uses the "
            "statistics of the batch"
        )
    if producer is None or type(producer.operation) not in FOLDABLE:
        raise Skip("its input is not the output of a convolution")
    convolution = producer.operation
    name = f"'{convolution.name}'"
    if convolution.activation is not keras.activations.linear:
        raise Skip(f"an activation stands between it and {name}")
    if not call.is_only_user_of(producer.source):
        raise Skip(f"the output of {name} has another user")
    rank = len(call.args[0].shape)
    channels_first = (
        getattr(convolution, "data_format", None) == "channels_first"
    )
    if norm.axis % rank != (1 if channels_first else rank - 1):
        raise Skip(
            f"it normalizes axis {norm.axis}, which is not the channel axis "
            f"of {name}"
        )
    if getattr(convolution, "quantization_mode", None):
        raise Skip(f"{name} is quantized")


def _with_bias(convolution):
    config = {**convolution.get_config(), "use_bias": True}
    return type(convolution).from_config(config)


def _weights(convolution, norm):
    kernel = read_numpy(convolution.kernel)
    shape = kernel.shape
    if isinstance(convolution, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        kernel = kernel.reshape(*shape[:-2], 1, -1)
    bias = np.zeros(kernel.shape[-1])
    if convolution.use_bias:
        bias = read_numpy(convolution.bias)
    affine = batch_norm_affine(
        read_numpy,
        norm.moving_mean,
        norm.moving_variance,
        norm.gamma,
        norm.beta,
        norm.epsilon,
    )
    folded = Kernel.of(kernel, bias).scale(*affine)
    dtype = "float64" if norm.variable_dtype == "float64" else "float32"
    return [
        folded.to_numpy(dtype).reshape(shape),
        folded.bias.astype(dtype),
    ]
