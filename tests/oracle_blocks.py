"""What the other blocks are defined to compute, by the rules of `oracle.py`.

Each function gives a block before its activation, in inference mode. The
weights are those of `arrays.weights_by_path`.
"""

import numpy as np
from oracle import centre_pixels, convolve, normalize, pad


def acb(image, weights, kernel_size, strides, dilation, padding, groups):
    """Asymmetric convolution block."""
    padded = pad(image, kernel_size, strides, dilation, padding)
    result = 0
    for name in ("kxk", "column", "row"):
        if f"{name}/conv/kernel" in weights:
            kernel = weights[f"{name}/conv/kernel"]
            seen = under_centre(padded, kernel_size, kernel.shape[:2], dilation)
            branch = convolve(seen, kernel, strides, dilation, groups)
            result = result + normalize(branch, weights, f"{name}/norm")
    return result


def dbb(image, weights, kernel_size, strides, dilation, padding, groups):
    """Diverse branch block."""
    geometry = (kernel_size, strides, dilation)
    padded = pad(image, *geometry, padding)
    branch = convolve(
        padded, weights["kxk/conv/kernel"], strides, dilation, groups
    )
    result = normalize(branch, weights, "kxk/norm")
    if "point/conv/kernel" in weights:
        centre = centre_pixels(padded, *geometry)
        branch = convolve(centre, weights["point/conv/kernel"], groups=groups)
        result += normalize(branch, weights, "point/norm")

    if "average/conv/kernel" in weights:
        branch = convolve(image, weights["average/conv/kernel"], groups=groups)
        branch = normalize_and_pad(
            branch, weights, "average/norm", *geometry, padding
        )
        last = "average/norm_1"
    else:
        branch, last = padded, "average/norm"
    result += normalize(average(branch, *geometry), weights, last)

    first = "point_kxk/merged/term/deviation/kernel"
    if first in weights:
        branch = image + convolve(image, weights[first], groups=groups)
        second = "point_kxk/conv/kernel"
    else:
        first, second = "point_kxk/conv/kernel", "point_kxk/conv_1/kernel"
        branch = convolve(image, weights[first], groups=groups)
    branch = normalize_and_pad(
        branch, weights, "point_kxk/norm", *geometry, padding
    )
    branch = convolve(branch, weights[second], strides, dilation, groups)
    return result + normalize(branch, weights, "point_kxk/norm_1")


def mobile_one(
    image, weights, kernel_size, strides, dilation, padding, groups, count
):
    """MobileOne's block with `count` k×k branches, one after the other."""
    geometry = (kernel_size, strides, dilation)
    padded = pad(image, *geometry, padding)
    centre = centre_pixels(padded, *geometry)
    result = 0
    for index in range(count):
        part = mobile_one_branch(weights, index, count, groups)
        branch = convolve(padded, part["kernel"], strides, dilation, groups)
        result = result + normalize(branch, part, "norm")
    if "point/conv/kernel" in weights:
        branch = convolve(centre, weights["point/conv/kernel"], groups=groups)
        result += normalize(branch, weights, "point/norm")
    if "identity/gamma" in weights:
        result += normalize(centre, weights, "identity")
    return result


def mobile_one_branch(weights, index, count, groups):
    """One of the k×k branches, out of all filters of each group."""
    parts = {}
    for name, value in weights.items():
        if name.startswith("kxk/"):
            each = value.shape[-1] // groups // count
            start = index * each
            chosen = [
                value[..., (g * count) * each + start :][..., :each]
                for g in range(groups)
            ]
            short = name.removeprefix("kxk/").removeprefix("conv/")
            parts[short] = np.concatenate(chosen, -1)
    return parts


def qarep(
    image,
    weights,
    kernel_size,
    strides,
    dilation,
    padding,
    groups,
    with_average=False,
):
    """QARepVGG's block, in YOLOv6's second version `with_average`."""
    geometry = (kernel_size, strides, dilation)
    padded = pad(image, *geometry, padding)
    centre = centre_pixels(padded, *geometry)
    kernel = weights["sum/kxk/conv/kernel"]
    result = convolve(padded, kernel, strides, dilation, groups)
    result = normalize(result, weights, "sum/kxk/norm")
    kernel = weights["sum/plain/term/point/kernel"]
    result += convolve(centre, kernel, groups=groups)
    # The identity exists where the centre tap reads every pixel itself.
    if result.shape == image.shape and not np.any(centre - image):
        result += image
        if with_average:
            result += average(padded, *geometry)
    return normalize(result, weights, "norm")


def dirac(image, weights, kernel_size, strides, dilation, padding, groups):
    """Dirac-parameterized convolution, as two branches."""
    geometry = (kernel_size, strides, dilation)
    padded = pad(image, *geometry, padding)
    centre = centre_pixels(padded, *geometry)
    kernel = weights["dirac/kernel"]
    result = convolve(padded, kernel, strides, dilation, groups)
    filters = result.shape[-1]
    for output in range(filters):
        result[..., output] *= weights["dirac/beta"][output]
        result[..., output] /= np.linalg.norm(kernel[..., output])
        group, index = divmod(output, filters // groups)
        inputs = image.shape[-1] // groups
        if index < inputs:
            passed = centre[..., group * inputs + index]
            result[..., output] += weights["dirac/alpha"][output] * passed
    return normalize(result, weights, "norm")


def rep_reserved(
    image, weights, kernel_size, strides, dilation, padding, groups
):
    """RMNet's block: the first channels as they are, then RepVGG's block."""
    geometry = (kernel_size, strides, dilation)
    padded = pad(image, *geometry, padding)
    kernel = weights["computed/kxk/conv/kernel"]
    reserved = image.shape[-1] - kernel.shape[-1]
    result = convolve(padded, kernel, strides, dilation, groups)
    result = normalize(result, weights, "computed/kxk/norm")
    if "computed/point/conv/kernel" in weights:
        branch = convolve(image, weights["computed/point/conv/kernel"])
        result += normalize(branch, weights, "computed/point/norm")
    others = image[..., reserved:]
    result += normalize(others, weights, "computed/identity/norm")
    return np.concatenate([image[..., :reserved], result], -1)


def orepa(image, weights, kernel_size, strides, dilation, padding, groups):
    """OREPA's block: its linear branches as images, with one norm behind."""
    geometry = (kernel_size, strides, dilation)
    padded = pad(image, *geometry, padding)
    if "norm/gamma" not in weights:
        return online(padded, weights, "term", *geometry, groups)
    result = online(padded, weights, "merged/term", *geometry, groups)
    return normalize(result, weights, "norm")


def orepa_stem(image, weights, kernel_size, strides, dilation, padding, groups):
    """3×3 convolutions one after the other, with no padding between them."""
    result = pad(image, kernel_size, strides, dilation, padding)
    names = ["sum", *(f"sum_{i}" for i in range(1, kernel_size[0] // 2))]
    for name in names:
        result = online(
            result,
            weights,
            f"merged/term/{name}",
            (3, 3),
            strides if name == names[-1] else (1, 1),
            dilation,
            groups,
        )
    return normalize(result, weights, "norm")


def orepa_vgg(image, weights, kernel_size, strides, dilation, padding, groups):
    """RepVGG's block with an online k×k."""
    geometry = (kernel_size, strides, dilation)
    padded = pad(image, *geometry, padding)
    centre = centre_pixels(padded, *geometry)
    result = online(padded, weights, "kxk/merged/term", *geometry, groups)
    result = normalize(result, weights, "kxk/norm")
    branch = convolve(centre, weights["point/conv/kernel"], groups=groups)
    result += normalize(branch, weights, "point/norm")
    if "identity/gamma" in weights:
        result += normalize(centre, weights, "identity")
    return result


def online(padded, weights, path, kernel_size, strides, dilation, groups):
    """The sum of OREPA's branches; those are left out that have no weights."""
    result = 0
    for name, compute in ONLINE_BRANCHES.items():
        start = f"{path}/{name}/"
        own = {
            key.removeprefix(start): value
            for key, value in weights.items()
            if key.startswith(start)
        }
        if own:
            branch = compute(
                padded, own, (kernel_size, strides, dilation), groups
            )
            result = result + branch * own.get("channel_scale/gain", 1.0)
    return result


def online_origin(x, weights, geometry, groups):
    return convolve(x, weights["conv/kernel"], *geometry[1:], groups)


def online_average(x, weights, geometry, groups):
    x = convolve(x, weights["conv/kernel"], groups=groups)
    return average(x, *geometry)


def online_prior(x, weights, geometry, groups):
    x = convolve(x, weights["conv/kernel"], groups=groups)
    filters = x.shape[-1]
    waves = cosines(geometry[0], filters)[:, :, None]
    return convolve(x, waves, *geometry[1:], filters)


def online_point_kxk(x, weights, geometry, groups):
    wide = convolve(x, weights["sum/deviation/kernel"], groups=groups)
    # The identity, as often as the channels of a group fit.
    inputs, outputs = x.shape[-1] // groups, wide.shape[-1] // groups
    for t in range(wide.shape[-1]):
        group, index = divmod(t, outputs)
        wide[..., t] += x[..., group * inputs + index % inputs]
    return convolve(wide, weights["conv/kernel"], *geometry[1:], groups)


def online_point(x, weights, geometry, groups):
    x = centre_pixels(x, *geometry)
    return convolve(x, weights["conv/kernel"], groups=groups)


def online_separable(x, weights, geometry, groups):
    channels = x.shape[-1]
    x = convolve(x, weights["conv/kernel"], *geometry[1:], channels)
    return convolve(x, weights["conv_1/kernel"], groups=groups)


def online_point_point(x, weights, geometry, groups):
    x = convolve(x, weights["conv/kernel"], groups=groups)
    x = centre_pixels(x, *geometry)
    return convolve(x, weights["conv_1/kernel"], groups=groups)


ONLINE_BRANCHES = {
    "origin": online_origin,
    "average": online_average,
    "prior": online_prior,
    "point_kxk": online_point_kxk,
    "point": online_point,
    "separable": online_separable,
    "point_point": online_point_point,
}


def cosines(kernel_size, filters):
    """The frequency prior: half of the filters vary by row, half by column."""
    height, width = kernel_size
    result = np.zeros((height, width, filters))
    half = filters / 2
    for h, w, i in np.ndindex(result.shape):
        if i < half:
            phase = (h + 0.5) * (i + 1) / height
        else:
            phase = (w + 0.5) * (i + 1 - half) / width
        result[h, w, i] = np.cos(np.pi * phase)
    return result


def average(padded, kernel_size, strides, dilation):
    """Average pooling; what the image was padded with counts."""
    channels = padded.shape[-1]
    equal = np.ones((*kernel_size, 1, channels)) / np.prod(kernel_size)
    return convolve(padded, equal, strides, dilation, channels)


def normalize_and_pad(
    x, weights, name, kernel_size, strides, dilation, padding
):
    """Normalizes, and pads with what the normalization makes of zero."""
    zero = np.zeros(x.shape[-1])
    return pad_with(
        normalize(x, weights, name),
        normalize(zero, weights, name),
        kernel_size,
        strides,
        dilation,
        padding,
    )


def pad_with(image, value, kernel_size, strides, dilation, padding):
    """Pads every channel with a value of its own."""
    inside = pad(np.ones_like(image), kernel_size, strides, dilation, padding)
    padded = pad(image, kernel_size, strides, dilation, padding)
    return np.where(inside > 0, padded, value)


def under_centre(padded, outer, inner, dilation):
    """What a smaller kernel reads that lies under the centre of a larger."""
    axes = []
    for axis in range(2):
        before = (outer[axis] - 1) // 2 - (inner[axis] - 1) // 2
        after = outer[axis] - inner[axis] - before
        size = padded.shape[axis + 1]
        axes.append(
            slice(before * dilation[axis], size - after * dilation[axis])
        )
    return padded[:, axes[0], axes[1]]
