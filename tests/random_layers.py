"""Layers of random models other than convolutions.

Options that do not fit are changed, as in `random_convolutions`.
"""

import math

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers
from random_steps import (
    ACTIVATION,
    BOOL,
    FROZEN,
    LARGEST,
    PADDING,
    PINNED,
    SIZE,
    STEP,
    layer,
)

PADS = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 3)


@layer(
    9,
    scale=BOOL,
    center=BOOL,
    epsilon=st.sampled_from([1e-3, 1e-5, 0.1]),
    axis=st.sampled_from([0] * 5 + [1, 2, 3]),
    **FROZEN,
    **PINNED,
)
def norm(site, axis=0, **options):
    # 0 stands for the channels.
    if site.is_open or axis == 0 or axis > len(site.shape):
        axis = site.axis
    axis = axis if axis < len(site.shape) else -1
    return site.make(layers.BatchNormalization, axis=axis, **options)


@layer(2, pads=PADS)
def pad(site, pads):
    if not site.rank or max(site.sizes) > LARGEST:
        return noop(site)
    pads = pads[: site.rank]
    return site.make_spatial(
        "ZeroPadding{}", pads[0] if site.rank == 1 else pads
    )


@layer(2, pads=PADS)
def crop(site, pads):
    pads = pads[: site.rank]
    fits = all(sum(p) < n for p, n in zip(pads, site.sizes, strict=False))
    # `Cropping1D` has no data format.
    if not site.rank or not fits or (site.rank == 1 and site.is_first):
        return noop(site)
    if site.rank == 1:
        return site.make("Cropping{}", pads[0])
    return site.make_spatial("Cropping{}", pads)


@layer(3, name=ACTIVATION)
def activation(site, name):
    return site.make(layers.Activation, name)


@layer(
    3,
    max_value=st.sampled_from([None, 6.0, 1.5]),
    negative_slope=st.sampled_from([0.0, 0.25, 0.2]),
    threshold=st.sampled_from([0.0, 0.0, 0.3]),
)
def relu(site, **options):
    return site.make(layers.ReLU, **options)


@layer(1, slope=st.sampled_from([0.2, 0.01, 0.0]))
def leaky(site, slope):
    return site.make(layers.LeakyReLU, slope)


@layer(1, shared=BOOL, **FROZEN)
def prelu(site, shared):
    axes = [i for i in range(1, site.rank + 2) if i != site.axis]
    return site.make(
        layers.PReLU, shared_axes=axes if shared or site.is_open else None
    )


NOOPS = [
    lambda site: site.make(layers.Identity),
    lambda site: site.make(layers.Dropout, 0.4, seed=1),
    lambda site: site.make(layers.GaussianDropout, 0.3, seed=1),
    lambda site: site.make(layers.GaussianNoise, 0.5, seed=1),
    lambda site: site.make(layers.AlphaDropout, 0.3, seed=1),
    lambda site: site.make(layers.ActivityRegularization, l2=0.1),
    lambda site: (
        site.make("SpatialDropout{}", 0.5, seed=1)
        if site.rank
        else site.make(layers.Dropout, 0.5, seed=1)
    ),
    lambda site: (
        site.make(layers.RandomFlip, seed=1)
        if site.rank == 2 and not site.is_first
        else site.make(layers.Identity)
    ),
]


@layer(4, kind=st.integers(0, len(NOOPS) - 1), **PINNED)
def noop(site, kind=0):
    return NOOPS[kind](site)


@layer(2, size=STEP, interpolation=st.sampled_from(["nearest", "bilinear"]))
def upsample(site, size, interpolation):
    # `UpSampling1D` has no data format.
    is_flat = site.rank == 1
    if not site.rank or max(site.sizes) > 8 or (is_flat and site.is_first):
        return noop(site)
    if is_flat:
        return site.make("UpSampling{}", size[0])
    options = {"interpolation": interpolation} if site.rank == 2 else {}
    return site.make_spatial("UpSampling{}", size[: site.rank], **options)


@layer(4, is_max=BOOL, size=SIZE, strides=STEP, padding=PADDING)
def pool(site, is_max, size, strides, padding):
    # TensorFlow pools volumes in float32 only.
    is_wide = keras.config.floatx() == "float64"
    is_wide &= keras.backend.backend() == "tensorflow"
    if site.rank == 0 or (site.rank == 3 and is_wide):
        return noop(site)
    size = size[: site.rank]
    if any(map(int.__lt__, site.sizes, size)):
        size = (1,) * site.rank
    return site.make_spatial(
        f"{'Max' if is_max else 'Average'}Pooling{{}}",
        size,
        strides[: site.rank],
        padding,
    )


@layer(1, is_max=BOOL, keepdims=BOOL)
def global_pool(site, is_max, keepdims):
    if not site.rank:
        return noop(site)
    kind = f"Global{'Max' if is_max else 'Average'}Pooling{{}}"
    return site.make_spatial(kind, keepdims=keepdims)


@layer(3, kind=st.integers(0, 5), order=st.permutations([1, 2, 3, 4]))
def reshape(site, kind, order):
    shape, rank = site.shape, site.rank
    if site.is_open:
        return noop(site)
    if kind < 2:
        dims = [i for i in order if i <= rank + 1]
        return site.make(layers.Permute, dims)
    if kind == 2:
        return site.make(layers.Flatten)
    if kind == 3 and rank > 1:
        return site.make(layers.Reshape, (math.prod(shape[:-1]), shape[-1]))
    if kind == 4 and rank > 1:
        return site.make(layers.Reshape, (*shape[:-2], math.prod(shape[-2:])))
    if rank < 3:
        return site.make(layers.Reshape, (1, *shape))
    return site.make(layers.Flatten)


@layer(
    3,
    is_normalization=BOOL,
    is_single=BOOL,
    has_offset=BOOL,
    invert=BOOL,
    seed=st.integers(0, 9),
)
def rescale(site, is_normalization, is_single, has_offset, invert, seed):
    rng = np.random.default_rng(seed)
    count = 1 if is_single or site.is_open else site.shape[-1]
    # TensorFlow rounds these numbers to float32 whatever the policy says.
    scale = rng.normal(size=count).astype("float32").tolist()
    offset = (rng.normal(size=count) * has_offset).astype("float32").tolist()
    variance = rng.uniform(0.5, 2.0, count).astype("float32").tolist()
    if count == 1:
        scale, offset, variance = scale[0], offset[0], variance[0]
    if not is_normalization:
        return site.make(layers.Rescaling, scale, offset)
    return site.make(
        layers.Normalization,
        axis=None if count == 1 else -1,
        mean=offset,
        variance=variance,
        invert=invert,
    )
