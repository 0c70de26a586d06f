"""Checks of the arguments that layers share with `keras.layers.Conv2D`."""

PADDINGS = ("same", "valid", "centered")


def positive(name, value):
    """A positive integer as it is; raises for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"Invalid value for `{name}`. Received: {name}={value!r}. Expected "
            f"a positive integer. Set `{name}` to 1 or more."
        )
    return value


def pair(name, value):
    """A positive integer or two as a tuple of two; raises otherwise."""
    values = (value, value) if isinstance(value, int) else value
    if isinstance(values, list | tuple) and len(values) == 2:
        return tuple(positive(name, item) for item in values)
    raise ValueError(
        f"Invalid value for `{name}`. Received: {name}={value!r}. Expected a "
        f"positive integer or a tuple of two. Set `{name}` to (height, width)."
    )


def one_of(name, value, choices):
    """A value out of some; raises for anything else."""
    if value not in choices:
        raise ValueError(
            f"Invalid value for `{name}`. Received: {name}={value!r}. Expected "
            f"one of {choices}. Use {choices[0]!r} if in doubt."
        )
    return value


def check_geometry(layer):
    """Raises where the arguments of a layer are unknown or contradictory."""
    if layer.padding not in PADDINGS:
        raise ValueError(
            f"Unknown padding. Received: padding={layer.padding!r}. "
            f"Expected one of {PADDINGS}. Use 'same' to keep the size of "
            "the image."
        )
    if layer.data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"Unknown data format. Received: data_format="
            f"{layer.data_format!r}. Expected 'channels_last' or "
            "'channels_first'. Leave it out to use Keras' setting."
        )
    if layer.filters % layer.outer_groups:
        raise ValueError(
            "The number of filters must be divisible by the number of "
            f"groups. Received: filters={layer.filters} and groups="
            f"{layer.groups}. Use a multiple of {layer.groups} as filters."
        )
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        raise ValueError(
            "`strides > 1` is not supported together with `dilation_rate "
            f"> 1`. Received: strides={layer.strides} and dilation_rate="
            f"{layer.dilation_rate}. Set one of them to 1."
        )
