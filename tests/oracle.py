"""What the layers are defined to compute, in float64 loops.

Imports nothing of keras_rep, and repeats none of its formulas: images are
padded for real, kernels are never merged.
"""

import numpy as np


def pad_amounts(size, kernel_size, stride, dilation, padding):
    """Zeros before and after one axis, by the definition of each padding."""
    span = (kernel_size - 1) * dilation + 1
    if padding == "valid":
        return 0, 0
    if padding == "centered":
        return span // 2, span // 2
    outputs = -(-size // stride)
    needed = max((outputs - 1) * stride + span - size, 0)
    return needed // 2, needed - needed // 2


def pad(image, kernel_size, strides, dilation, padding):
    """Zero-pads a channels-last image as a convolution of this size would."""
    widths = [
        pad_amounts(*axis, padding)
        for axis in zip(
            image.shape[1:3], kernel_size, strides, dilation, strict=True
        )
    ]
    return np.pad(image, [(0, 0), *widths, (0, 0)])


def convolve(padded, kernel, strides=(1, 1), dilation=(1, 1), groups=1):
    """Valid convolution, one output pixel and one group at a time."""
    height, width, _, filters = kernel.shape
    rows = _positions(padded.shape[1], height, strides[0], dilation[0])
    columns = _positions(padded.shape[2], width, strides[1], dilation[1])
    inputs_each = padded.shape[3] // groups
    filters_each = filters // groups
    result = np.zeros((len(padded), len(rows), len(columns), filters))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            patch = padded[
                :,
                row : row + (height - 1) * dilation[0] + 1 : dilation[0],
                column : column + (width - 1) * dilation[1] + 1 : dilation[1],
            ]
            for g in range(groups):
                read = slice(g * inputs_each, (g + 1) * inputs_each)
                write = slice(g * filters_each, (g + 1) * filters_each)
                result[:, i, j, write] = np.tensordot(
                    patch[..., read], kernel[..., write], 3
                )
    return result


def centre_pixels(padded, kernel_size, strides=(1, 1), dilation=(1, 1)):
    """The pixels of a padded image under the kernel's centre tap."""
    axes = []
    for axis in range(2):
        centre = (kernel_size[axis] - 1) // 2 * dilation[axis]
        starts = _positions(
            padded.shape[axis + 1],
            kernel_size[axis],
            strides[axis],
            dilation[axis],
        )
        axes.append([start + centre for start in starts])
    return padded[:, axes[0]][:, :, axes[1]]


def normalize(x, weights, name, epsilon=1e-5):
    """Batch normalization in inference mode."""
    deviation = np.sqrt(weights[f"{name}/moving_variance"] + epsilon)
    standard = (x - weights[f"{name}/moving_mean"]) / deviation
    return standard * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def rep_conv(image, weights, kernel_size, strides, dilation, padding, groups):
    """RepVGG's block before its activation, branch by branch."""
    geometry = (kernel_size, strides, dilation)
    padded = pad(image, *geometry, padding)
    centre = centre_pixels(padded, *geometry)
    kernel = weights["kxk/conv/kernel"]
    result = convolve(padded, kernel, strides, dilation, groups)
    result = normalize(result, weights, "kxk/norm")
    if "point/conv/kernel" in weights:
        kernel = weights["point/conv/kernel"]
        branch = convolve(centre, kernel, groups=groups)
        result += normalize(branch, weights, "point/norm")
    if "identity/gamma" in weights:
        result += normalize(centre, weights, "identity")
    return result


def _positions(size, kernel_size, stride, dilation):
    span = (kernel_size - 1) * dilation + 1
    return range(0, size - span + 1, stride)
