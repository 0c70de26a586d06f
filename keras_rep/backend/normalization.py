"""Batch normalization in training."""

import functools

import keras
from keras import ops

from keras_rep.backend.current import BACKEND
from keras_rep.backend.images import at_least_single, per_channel, shift


def normalize_batch(
    inputs, gamma, beta, epsilon, data_format, synchronized=False
):
    """Batch normalization with the batch's own statistics.

    Args:
        inputs: Image tensor in `data_format`.
        gamma: Tensor of shape `(channels,)`, at least single precision.
        beta: Tensor of shape `(channels,)`, likewise.
        epsilon: Added to the variance.
        data_format: `"channels_last"` or `"channels_first"`.
        synchronized: Whether the batch is that of all replicas together: of
            a `tf.distribute` strategy, of a sharded JAX step, or of PyTorch's
            default process group.

    Returns:
        A tuple `(outputs, mean, variance)`: the normalized image in the dtype
        of `inputs`, and two vectors; the variance is the biased one.
    """
    synchronized = synchronized and _may_have_replicas()
    if BACKEND == "torch" and not synchronized:
        return _normalize_batch_torch(inputs, gamma, beta, epsilon, data_format)
    is_double = keras.backend.standardize_dtype(inputs.dtype) == "float64"
    is_last = data_format == "channels_last"
    is_fused = BACKEND == "tensorflow" and is_last and not is_double
    if is_fused and not synchronized:
        return _normalize_batch_tensorflow(inputs, gamma, beta, epsilon)
    axes = (0, 1, 2) if is_last else (0, 2, 3)
    values = at_least_single(inputs)
    if BACKEND == "torch":
        mean, variance = _moments_of_processes_torch(values, axes)
    else:
        mean, variance = ops.moments(values, axes, synchronized=synchronized)
    gain = ops.multiply(gamma, ops.rsqrt(ops.add(variance, epsilon)))
    offset = ops.subtract(beta, ops.multiply(mean, gain))
    outputs = ops.multiply(values, per_channel(gain, data_format))
    outputs = shift(outputs, offset, data_format)
    return ops.cast(outputs, inputs.dtype), mean, variance


def _may_have_replicas():
    """Whether others may see another part of the batch."""
    if BACKEND == "torch":
        return _count_processes_torch() > 1
    # On JAX a step is one program for the whole batch, whatever the devices.
    return BACKEND == "tensorflow"


def _normalize_batch_torch(inputs, gamma, beta, epsilon, data_format):
    import torch

    last = data_format == "channels_last"
    image = inputs.permute(0, 3, 1, 2) if last else inputs
    outputs, mean, inverse_deviation = torch.native_batch_norm(
        image, gamma, beta, None, None, True, 0.0, epsilon
    )
    variance = inverse_deviation.pow(-2) - epsilon
    outputs = outputs.permute(0, 2, 3, 1) if last else outputs
    return outputs, mean, variance


def _count_processes_torch():
    from torch import distributed

    is_grouped = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if is_grouped else 1


def _moments_of_processes_torch(values, axes):
    """Mean and variance over the images of all processes, in one exchange.

    Each brings its own count, mean and variance, as PyTorch's SyncBatchNorm,
    which knows no CPU. A variance from sums of squares would cancel.
    """
    import torch
    from torch import distributed

    variance, mean = torch.var_mean(values, axes, correction=0)
    count = values.new_full((1,), values.numel() // mean.numel())
    own = torch.cat([count, mean, variance])
    rows = own.new_zeros(_count_processes_torch(), len(own))
    rows[distributed.get_rank()] = own
    counts, means, variances = _sum_over_processes_torch()(rows).split(
        [1, len(mean), len(mean)], dim=1
    )
    shares = counts / counts.sum()
    mean = (shares * means).sum(0)
    spread = variances + (means - mean).square()
    return mean, (shares * spread).sum(0)


@functools.cache
def _sum_over_processes_torch():
    """A function of a tensor: the sum of all processes'; so is its gradient.

    That of `torch.distributed.nn` is deprecated, and nothing public follows.
    """
    import torch
    from torch import distributed

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(context, tensor):
            tensor = tensor.clone()
            distributed.all_reduce(tensor)
            return tensor

        @staticmethod
        def backward(context, gradient):
            gradient = gradient.clone()
            distributed.all_reduce(gradient)
            return gradient

    return Sum.apply


def _normalize_batch_tensorflow(inputs, gamma, beta, epsilon):
    import tensorflow as tf

    # The raw op, because the public one raises epsilon to 1.001e-5.
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=tf.zeros((0,)),
        variance=tf.zeros((0,)),
        epsilon=epsilon,
        exponential_avg_factor=1.0,
        is_training=True,
    )
    # The op returns the unbiased variance; Keras tracks the biased one.
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
    return outputs, mean, variance * (count - 1.0) / count
