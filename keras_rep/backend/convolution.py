"""Convolutions and average pooling."""

import functools
import math

from keras import ops

from keras_rep.backend.current import BACKEND, has_slow_groups
from keras_rep.backend.images import channel_axis, per_channel


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
    options = {
        "strides": strides,
        "padding": padding,
        "dilation_rate": dilation_rate,
        "data_format": data_format,
    }
    is_last = data_format == "channels_last"
    if depthwise and BACKEND == "jax" and has_slow_groups() and is_last:
        return _convolve_depthwise_jax(
            inputs, kernel, strides, padding, dilation_rate
        )
    if 1 < inputs_per_group < channels and has_slow_groups():
        settings = tuple(options.values())
        return _jit(_convolve_groups, inputs, kernel, settings)
    # TensorFlow's depthwise convolution knows square strides only, and its
    # grouped one runs through XLA, op by op.
    if depthwise and BACKEND == "tensorflow" and strides[0] == strides[1]:
        kernel = ops.reshape(
            kernel, (*kernel_size, channels, filters // channels)
        )
        return ops.depthwise_conv(inputs, kernel, **options)
    return ops.conv(inputs, kernel, **options)


# Inputs times filters of one group, up to which depthwise convolutions are
# faster than a dense one.
FEW = 8


def _convolve_groups(inputs, kernel, settings):
    """Grouped convolution out of those that are fast.

    XLA's gradient takes 2 to 180 times as long on a CPU, and TensorFlow has no
    other.
    """
    *_, data_format = settings
    axis = channel_axis(data_format)
    inputs_per_group, filters = kernel.shape[-2:]
    groups = inputs.shape[axis] // inputs_per_group
    is_small = inputs_per_group * filters // groups <= FEW
    if is_small and data_format == "channels_last":
        # Of all groups the first inputs, the second ones, and so on.
        parts = (
            convolve(
                inputs[..., i::inputs_per_group],
                kernel[:, :, i : i + 1],
                *settings,
            )
            for i in range(inputs_per_group)
        )
        return functools.reduce(ops.add, parts)
    pairs = zip(
        ops.split(inputs, groups, axis),
        ops.split(kernel, groups, -1),
        strict=True,
    )
    return ops.concatenate([convolve(*pair, *settings) for pair in pairs], axis)


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
    if BACKEND != "jax":
        return function(*arguments)
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
