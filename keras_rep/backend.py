"""Backend-specific fast paths: the few places where plain Keras ops are slow.

Each function has one meaning on every backend; `benchmarks/` measures what the
special forms gain. Nothing else in the package looks at the backend.
"""

import functools
import math

import keras
from keras import ops

BACKEND = keras.backend.backend()

# Whether the 1×1 branches of a block train as one matrix product, with the
# batch statistics of `moments.py`. XLA's reductions over images are slow; the
# native normalizations of the other two backends are not.
MERGES_POINTWISE = BACKEND == "jax"


def channel_axis(data_format):
    """Index of the channel axis of an image."""
    return -1 if data_format == "channels_last" else 1


def per_channel(vector, data_format):
    """Reshapes a per-channel vector so that it broadcasts over an image."""
    if data_format == "channels_last":
        return vector
    return ops.reshape(vector, (-1, 1, 1))


def at_least_single(tensor):
    """Casts half precision to float32 and leaves other dtypes alone."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    is_half = dtype in ("float16", "bfloat16")
    return ops.cast(tensor, "float32") if is_half else tensor


def shift(image, vector, data_format):
    """Adds a per-channel vector to an image.

    By the operator: `keras.ops.add` on TensorFlow takes the vector for a bias
    of the last axis whenever that axis happens to have the vector's length.
    """
    return image + per_channel(ops.cast(vector, image.dtype), data_format)


def convolve(inputs, kernel, strides, padding, dilation_rate, data_format):
    """Two-dimensional convolution, `padding` being `"valid"` or `"same"`.

    Args:
        inputs: Image tensor in `data_format`.
        kernel: Tensor of shape `(*kernel_size, in_channels // groups,
            filters)`.
        strides: Tuple of two integers.
        padding: `"valid"` or `"same"`.
        dilation_rate: Tuple of two integers.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    if BACKEND == "torch" and data_format == "channels_last":
        # A channels-last image seen as channels-first has exactly the strides
        # of `torch.channels_last`: two views instead of two copies a call.
        outputs = convolve(
            ops.transpose(inputs, (0, 3, 1, 2)),
            kernel,
            strides,
            padding,
            dilation_rate,
            "channels_first",
        )
        return ops.transpose(outputs, (0, 2, 3, 1))
    channels = inputs.shape[channel_axis(data_format)]
    *kernel_size, inputs_per_group, filters = kernel.shape
    depthwise = inputs_per_group == 1 and channels > 1
    if depthwise and _is_jax_on_cpu() and data_format == "channels_last":
        return _convolve_depthwise_jax(
            inputs, kernel, strides, padding, dilation_rate
        )
    # TensorFlow's depthwise convolution knows square strides only, and its
    # grouped one runs through XLA, op by op.
    if depthwise and BACKEND == "tensorflow" and strides[0] == strides[1]:
        kernel = ops.reshape(
            kernel, (*kernel_size, channels, filters // channels)
        )
        return ops.depthwise_conv(
            inputs,
            kernel,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
        )
    return ops.conv(
        inputs,
        kernel,
        strides=strides,
        padding=padding,
        data_format=data_format,
        dilation_rate=dilation_rate,
    )


def _is_jax_on_cpu():
    if BACKEND != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"


def average(inputs, kernel_size, strides, dilation_rate, data_format):
    """Average pooling without padding.

    Args:
        inputs: Image tensor in `data_format`.
        kernel_size: Tuple of two integers.
        strides: Tuple of two integers.
        dilation_rate: Tuple of two integers.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    if BACKEND == "jax":
        # XLA's CPU code for windows is slow; slices that are added up fuse.
        first = 1 if data_format == "channels_last" else 2
        axes = (kernel_size, strides, dilation_rate, first)
        return _jit(_average_slices, inputs, axes)
    if BACKEND == "tensorflow" and dilation_rate == (1, 1):
        return ops.average_pool(
            inputs, kernel_size, strides, "valid", data_format
        )
    channels = inputs.shape[channel_axis(data_format)]
    ones = ops.ones((*kernel_size, 1, channels), dtype=inputs.dtype)
    kernel = ones / math.prod(kernel_size)
    return convolve(
        inputs, kernel, strides, "valid", dilation_rate, data_format
    )


def _jit(function, *arguments):
    """Calls a function of tensors, the last argument being a constant.

    Outside of a jitted step, JAX would compile every slice by itself.
    """
    import jax

    jitted = jax.jit(function, static_argnums=len(arguments) - 1)
    return jitted(*arguments)


def _average_slices(inputs, axes):
    *geometry, first = axes
    for axis, (size, stride, dilation) in enumerate(
        zip(*geometry, strict=True), first
    ):
        slices = _slices(inputs, axis, size, stride, dilation)
        inputs = functools.reduce(ops.add, slices)
    return inputs / math.prod(axes[0])


def _convolve_slices(inputs, kernel, axes):
    """Depthwise convolution of a padded channels-last image, tap by tap."""
    (rows, columns), strides, dilation_rate = axes
    multiplier = kernel.shape[-1] // inputs.shape[-1]
    if multiplier > 1:
        inputs = ops.repeat(inputs, multiplier, axis=-1)
    total = 0.0
    bands = _slices(inputs, 1, rows, strides[0], dilation_rate[0])
    for row, band in enumerate(bands):
        pixels = _slices(band, 2, columns, strides[1], dilation_rate[1])
        for column, values in enumerate(pixels):
            total = total + values * kernel[row, column, 0]
    return total


def _slices(image, axis, size, stride, dilation):
    """What each tap along one axis reads, for all outputs."""
    count = (image.shape[axis] - (size - 1) * dilation - 1) // stride + 1
    before = (slice(None),) * axis
    for tap in range(size):
        start = tap * dilation
        stop = start + (count - 1) * stride + 1
        yield image[(*before, slice(start, stop, stride))]


def _convolve_depthwise_jax(inputs, kernel, strides, padding, dilation_rate):
    """Depthwise convolution as XLA computes it fast.

    Its own takes ten times as long on a CPU.
    """
    import jax

    size = tuple(kernel.shape[:2])
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation_rate, strict=True)]
    pads = jax.lax.padtype_to_pads(
        inputs.shape[1:3], spans, strides, padding.upper()
    )
    inputs = ops.pad(inputs, [(0, 0), *pads, (0, 0)])
    axes = (size, strides, dilation_rate)
    return _jit(_convolve_slices, inputs, kernel, axes)


def convolve_pointwise(inputs, kernel, data_format):
    """1×1 convolution, as the matrix product that it is where that is faster.

    Args:
        inputs: Image tensor in `data_format`.
        kernel: Tensor of shape `(1, 1, in_channels // groups, filters)`.
        data_format: `"channels_last"` or `"channels_first"`.
    """
    channels = inputs.shape[channel_axis(data_format)]
    inputs_per_group, filters = kernel.shape[2:]
    if inputs_per_group == 1 and channels == filters:
        gain = ops.reshape(kernel, (filters,))
        return ops.multiply(inputs, per_channel(gain, data_format))
    dense = inputs_per_group == channels
    if BACKEND == "torch" or not dense or data_format == "channels_first":
        return convolve(inputs, kernel, (1, 1), "valid", (1, 1), data_format)
    # Two dimensions on purpose: XLA's CPU code is slow for more, and
    # TensorFlow 2.21 overwrites memory when `matmul` broadcasts.
    matrix = ops.reshape(kernel, (channels, filters))
    flat = ops.matmul(ops.reshape(inputs, (-1, channels)), matrix)
    return ops.reshape(flat, (*ops.shape(inputs)[:-1], filters))


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
    # On JAX a step is one program for the whole batch, whatever the devices.
    synchronized = synchronized and BACKEND != "jax"
    if BACKEND == "torch" and synchronized:
        synchronized = _count_processes_torch() > 1
    if BACKEND == "torch" and not synchronized:
        return _normalize_batch_torch(inputs, gamma, beta, epsilon, data_format)
    is_double = keras.backend.standardize_dtype(inputs.dtype) == "float64"
    is_last = data_format == "channels_last"
    is_fused = BACKEND == "tensorflow" and is_last and not is_double
    if is_fused and not synchronized:
        return _normalize_batch_tensorflow(inputs, gamma, beta, epsilon)
    axes = (0, 1, 2) if is_last else (0, 2, 3)
    values = at_least_single(inputs)
    if BACKEND == "torch" and synchronized:
        mean, variance = _moments_of_processes_torch(values, axes)
    else:
        mean, variance = ops.moments(values, axes, synchronized=synchronized)
    gain = ops.multiply(gamma, ops.rsqrt(ops.add(variance, epsilon)))
    offset = ops.subtract(beta, ops.multiply(mean, gain))
    outputs = ops.multiply(values, per_channel(gain, data_format))
    outputs = shift(outputs, offset, data_format)
    return ops.cast(outputs, inputs.dtype), mean, variance


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
