import math

from keras_rep.errors import Skip
from keras_rep.linear import layer_weights, make_layer, read_linear


def merge_linear_chains(call, max_growth=1.0):
    """`convolution(convolution(x))` → `convolution(x)`, one of them being 1×1.

    Exact where the second reads the output of the first without padding, or
    where the padding is what the first makes of zeros. Two `Dense` layers are
    merged likewise. `max_growth` says how many times the multiply-adds and
    the parameters of both the merged one may take.
    """
    second = read_linear(call)
    first = second and read_linear(second.root.producer)
    if first is None or first.family != second.family or not first.is_linear:
        return None
    host = _find_host(first, second)
    if host is None:
        return None
    if not second.is_alone_behind(first.call.output):
        raise Skip(f"the output of '{first.layer.name}' has another user")
    groups = math.gcd(first.groups, second.groups)
    _check_growth(first, second, host, groups, max_growth)
    merged = call.once(
        lambda: make_layer(
            host.layer,
            (first.channels, second.filters, groups),
            strides=_strides(first, second),
            activation=call.layer.activation,
            trainable=call.layer.trainable,
            name=call.layer.name,
        ),
        first.layer,
        call.layer,
        "chain",
    )
    tensor = first.call.inputs[0]
    if host is second:
        tensor = second.emit_padding(tensor)
    return call.emit(
        merged,
        tensor,
        fill=lambda: layer_weights(
            merged, first.kernel().compose(second.kernel())
        ),
    )


def _find_host(first, second):
    """The one whose kernel size and padding the merged convolution has."""
    if second.keeps_pixels:
        return first
    if second.is_pointwise and max(first.dilation_rate) == 1:
        # A stride behind a padded convolution starts at another pixel than
        # one in it.
        return first if first.reads_image_only else None
    if not first.keeps_pixels:
        return None
    if not second.reads_image_only and first.kernel().bias.any():
        raise Skip(
            f"its padding is zero, which is not what '{first.layer.name}' in "
            "front makes of zeros"
        )
    return second


def _strides(first, second):
    return tuple(
        a * b for a, b in zip(first.strides, second.strides, strict=True)
    )


def _check_growth(first, second, host, groups, max_growth):
    taps = math.prod(host.kernel_size)
    weights = taps * first.channels // groups * second.filters
    before = first.weight_count, second.weight_count
    # Outputs of the first for each output of the second.
    ratio = math.prod(second.strides)
    if None not in (first.positions, second.positions):
        ratio = first.positions / second.positions
    growths = {
        "multiply-adds": weights / (before[0] * ratio + before[1]),
        "parameters": (weights + second.filters)
        / (sum(before) + first.filters + second.filters),
    }
    name, growth = max(growths.items(), key=lambda item: item[1])
    if growth > max_growth:
        raise Skip(
            f"merging '{first.layer.name}' into it would take {growth:.2f} "
            f"times the {name}, above max_growth={max_growth:g}"
        )
