"""Blocks of random models: what networks are made of, and traps."""

import functools
import operator

import keras
from hypothesis import strategies as st
from keras import layers, ops
from random_convolutions import CONV  # noqa: F401 - fills `LAYERS`.
from random_layers import PADS  # noqa: F401 - likewise.
from random_steps import (
    ACTIVATION,
    BLOCKS,
    BOOL,
    FILTERS,
    LAYERS,
    PADDING,
    SIZE,
    block,
    step_of,
    steps,
)


def add(b, tensors, is_raw):
    if is_raw:
        return functools.reduce(operator.add, tensors)
    return layers.Add(name=b.name("add"))(tensors)


MERGES = ["Add", "+", "Subtract", "-", "Multiply", "Average", "Concatenate"]


@block(9, kind=st.sampled_from(MERGES), skip=st.integers(0, 2))
def merge(b, x, pool, kind, skip):
    """An operation on two tensors of one shape."""
    y = b.other(x, pool, skip)
    if kind == "+":
        return x + y
    if kind == "-":
        return x - y
    options = {"axis": b.site(x).axis} if kind == "Concatenate" else {}
    return getattr(layers, kind)(name=b.name(kind.lower()), **options)([x, y])


RAW = {
    "relu": ops.relu,
    "scale": lambda x: x * 0.5,
    "shift": lambda x: x + 0.25,
    "rest": lambda x: x[:, 1:] if (x.shape[1] or 0) > 1 else -x,
    "twice": lambda x: x + x,
    "tanh": ops.tanh,
}


@block(2, kind=st.sampled_from(sorted(RAW)))
def raw(b, x, pool, kind):
    """An operation instead of a layer."""
    return RAW[kind](x)


RESIDUALS = {
    # Convolutions as letters: `w` widens and `n` narrows by 1×1, `c` is a
    # whole one, `d` a depthwise one; `b` and `r` are what you think.
    "basic": "cbrcb",
    "bottleneck": "nbrcbrwb",
    "preactivation": "brcbrc",
    "inverted": "wbrdbrnb",
    "linear": "c",
    "depthwise": "db",
}


@block(
    12,
    kind=st.sampled_from(sorted(RESIDUALS)),
    kernel=SIZE,
    strides=st.sampled_from([1, 1, 2]),
    use_bias=BOOL,
    limit=st.sampled_from([None, 6.0]),
    is_raw=BOOL,
    is_projected=BOOL,
    behind=ACTIVATION,
)
def residual(
    b, x, pool, kind, kernel, strides, use_bias, limit, is_raw, behind, **more
):
    """A sum of a tensor, maybe projected, and of what became of it."""
    channels = b.site(x).channels
    letters = RESIDUALS[kind]
    main = next(i for i, letter in enumerate(letters) if letter in "cd")
    y = x
    for i, letter in enumerate(letters):
        step = (strides,) * 3 if i == main else (1, 1, 1)
        if letter in "cwn":
            filters = channels + 2 if letter == "w" and kind[0] == "i" else 0
            filters = filters or (2 if letter == "n" and kind[0] == "b" else 0)
            y = b.put(
                y,
                "conv",
                filters=filters or channels,
                kernel=kernel if letter == "c" else (1, 1, 1),
                strides=step,
                use_bias=use_bias,
            )
        elif letter == "d":
            options = {"kernel": kernel, "strides": step, "use_bias": use_bias}
            y = b.put(y, "depthwise", **options)
        elif letter == "b":
            y = b.put(y, "norm")
        else:
            y = b.put(y, "relu", max_value=limit)
    if strides > 1 or more["is_projected"]:
        options = {"filters": channels, "kernel": (1, 1, 1)}
        x = b.put(x, "conv", strides=(strides,) * 3, **options)
        x = b.put(x, "norm")
    y = add(b, [y, x], is_raw)
    return y if behind == "linear" else b.put(y, "activation", name=behind)


BRANCH = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["conv", "conv", "depthwise", "identity"]),
        "kernel": st.one_of(st.just((1, 1, 1)), SIZE),
        "dilation": st.sampled_from([1, 1, 2]),
        "groups": st.integers(1, 3),
        "has_norm": BOOL,
    }
)


@block(
    12,
    branches=st.lists(BRANCH, min_size=2, max_size=4),
    strides=st.sampled_from([1, 1, 2]),
    padding=st.sampled_from(["same", "same", "same", "valid"]),
    use_bias=BOOL,
    is_raw=BOOL,
)
def parallel(b, x, pool, branches, strides, padding, use_bias, is_raw):
    """A sum of several convolutions of one tensor, maybe with itself."""
    tensors = []
    channels = b.site(x).channels
    for options in branches:
        kind, y = options["kind"], x
        spread = (options["dilation"],) * 3
        common = {
            "kernel": options["kernel"],
            "dilation": spread,
            "strides": (strides,) * 3,
            "padding": "same",
            "use_bias": use_bias,
        }
        if padding == "valid":
            common["kernel"] = branches[0]["kernel"]
            common["dilation"] = (branches[0]["dilation"],) * 3
            common["padding"] = "valid"
        if kind == "depthwise":
            y = b.put(x, "depthwise", **common)
        elif kind == "conv" or strides > 1 or padding == "valid":
            groups = options["groups"]
            y = b.put(x, "conv", filters=channels, groups=groups, **common)
        tensors.append(b.put(y, "norm") if options["has_norm"] else y)
    return add(b, tensors, is_raw)


CHAINED = st.sampled_from(["point", "conv", "depthwise", "dense"])


@block(
    14,
    kinds=st.lists(CHAINED, min_size=2, max_size=3),
    filters=FILTERS,
    kernel=SIZE,
    strides=st.lists(st.integers(1, 2), min_size=3, max_size=3),
    padding=PADDING,
    groups=st.integers(1, 2),
    biases=st.lists(BOOL, min_size=3, max_size=3),
    norms=st.lists(BOOL, min_size=3, max_size=3),
)
def chain(b, x, pool, kinds, filters, kernel, strides, padding, **lists):
    """Linear layers one behind the other."""
    for i, kind in enumerate(kinds):
        is_point = kind in ("point", "dense")
        options = {
            "kernel": (1, 1, 1) if is_point else kernel,
            "strides": (strides[i],) * 3,
            "padding": padding,
            "use_bias": lists["biases"][i],
        }
        if kind == "dense":
            use_bias, activation = options["use_bias"], "linear"
            options = {"use_bias": use_bias, "activation": activation}
        if kind in ("conv", "point"):
            options["groups"] = lists["groups"]
        if kind != "depthwise":
            options["filters"] = filters
        name = "conv" if kind == "point" else kind
        x = b.put(x, name, **options)
        if lists["norms"][i]:
            x = b.put(x, "norm")
    return x


def some(*names, weight=None):
    """Some of the layers, as often as others or with a common weight."""
    return {
        name: (make, weight or own, options)
        for name, (make, own, options) in LAYERS.items()
        if name in names
    }


CONVOLUTIONS = some(
    "conv",
    "depthwise",
    "separable",
    "transposed",
    "dense",
    "rep",
    "unit",
    weight=1,
)
BETWEEN = some(
    "pool", "pad", "crop", "upsample", "noop", "reshape", "global_pool"
)
# More often than elsewhere a Dropout that always drops.
make, weight, options = BETWEEN["noop"]
BETWEEN["noop"] = make, weight, {**options, "pinned": BOOL}


@block(
    40,
    convolution=step_of(CONVOLUTIONS, activation="linear"),
    between=steps(BETWEEN, 0, 2),
    affine=step_of(some("norm", "rescale"), pinned=False),
    is_behind=BOOL,
    is_raw=st.sampled_from([None, None, None, False, True]),
)
def fold(b, x, pool, convolution, between, affine, is_behind, is_raw):
    """A convolution and an affine map, with something between them."""
    steps = [convolution, *between, affine]
    y = b.run(steps if is_behind else steps[::-1], x)
    if is_raw is None:
        return y
    # A sum, which a normalization behind may move through.
    z = b.run(steps[:1], x)
    if b.site(z).shape != b.site(y).shape:
        return y
    return add(b, [y, z], is_raw)


@block(
    4,
    inner=steps(LAYERS, 1, 3),
    is_chained=BOOL,
    skip=st.integers(0, 2),
)
def shared(b, x, pool, inner, is_chained, skip):
    """The same layers called twice, side by side or behind each other."""
    y, z = x, b.other(x, pool, skip)
    for step in inner:
        site = b.site(y)
        layer, _ = b.layer(site, step)
        y, z = layer(y), layer(z)
        if is_chained and b.site(y).shape == site.shape:
            z = layer(y)
    return layers.Add(name=b.name("add"))([y, z])


@block(
    4,
    inner=steps(LAYERS | BLOCKS, 1, 4),
    is_sequential=BOOL,
    is_twice=BOOL,
)
def nested(b, x, pool, inner, is_sequential, is_twice):
    """A model in the model, maybe called twice."""
    inputs = keras.Input(x.shape[1:])
    if is_sequential:
        model = b.stack(inputs, inner, b.name("sequential"))
    else:
        outputs = b.run(inner, inputs)
        model = keras.Model(inputs, outputs, name=b.name("functional"))
    y = model(x)
    if not is_twice:
        return y
    if b.site(y).shape == b.site(x).shape:
        return model(y)
    return layers.Add(name=b.name("add"))([y, model(b.other(x, pool))])
