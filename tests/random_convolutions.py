"""Convolutions of random models.

A drawn option that a layer or a backend does not take is changed to the
nearest one that it does, so that every description gives a model. Imports
nothing of keras_rep but two of its layers.
"""

import math

import keras
from hypothesis import strategies as st
from keras import layers
from random_steps import (
    ACTIVATION,
    BOOL,
    FILTERS,
    FROZEN,
    LARGEST,
    PADDING,
    SIZE,
    STEP,
    layer,
)

from keras_rep.layers import DBBConv, RepConv


def _geometry(site, kernel, strides, dilation, padding):
    """Options of a convolution that Keras takes on every backend."""
    kernel, strides = kernel[: site.rank], strides[: site.rank]
    dilation = dilation[: site.rank]
    if max(strides) > 1:
        dilation = (1,) * site.rank
    if padding == "causal" and (site.rank > 1 or site.is_first):
        padding = "same"
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(map(int.__lt__, site.sizes, spans)) and padding == "valid":
        padding = "same"
    return {
        "kernel_size": kernel,
        "strides": strides,
        "dilation_rate": dilation,
        "padding": padding,
    }


def _equal(options):
    """The same for all axes, as depthwise layers need it on TensorFlow."""
    for name in ("strides", "dilation_rate"):
        options[name] = (max(options[name]),) * len(options[name])
    if max(options["strides"]) > 1:
        options["dilation_rate"] = (1,) * len(options["strides"])
    return options


CONV = {
    "kernel": SIZE,
    "strides": st.one_of(st.just((1, 1, 1)), STEP),
    "dilation": st.one_of(st.just((1, 1, 1)), STEP),
    "padding": PADDING,
    "use_bias": BOOL,
    "activation": st.one_of(st.just("linear"), ACTIVATION),
    **FROZEN,
}


@layer(
    9,
    filters=FILTERS,
    groups=st.integers(1, 4),
    **{**CONV, "padding": st.sampled_from(["same", "valid", "causal"])},
)
def conv(
    site,
    filters,
    kernel,
    strides=(1, 1, 1),
    dilation=(1, 1, 1),
    padding="same",
    groups=1,
    use_bias=True,
    activation="linear",
):
    if not site.rank:
        return site.make(
            layers.Dense, filters, activation=activation, use_bias=use_bias
        )
    groups = max(g for g in range(1, groups + 1) if site.channels % g == 0)
    return site.make_spatial(
        "Conv{}",
        math.ceil(filters / groups) * groups,
        groups=groups,
        use_bias=use_bias,
        activation=activation,
        **_geometry(site, kernel, strides, dilation, padding),
    )


@layer(5, multiplier=st.integers(1, 2), **CONV)
def depthwise(
    site,
    kernel,
    strides=(1, 1, 1),
    dilation=(1, 1, 1),
    padding="same",
    multiplier=1,
    **options,
):
    channels = site.channels
    if site.rank in (0, 3):
        geometry = kernel, strides, dilation, padding
        return conv(site, channels * multiplier, *geometry, channels, **options)
    geometry = _geometry(site, kernel, strides, dilation, padding)
    options |= _equal(geometry)
    if padding == "valid":
        # With equal dilation the taps may reach further.
        options["padding"] = _geometry(
            site, kernel, strides, options["dilation_rate"], padding
        )["padding"]
    return site.make_spatial(
        "DepthwiseConv{}", depth_multiplier=multiplier, **options
    )


@layer(2, filters=FILTERS, multiplier=st.integers(1, 2), **CONV)
def separable(site, filters, kernel, strides, multiplier, **options):
    if site.rank in (0, 3):
        return conv(site, filters, kernel, strides, **options)
    dilation, padding = options.pop("dilation"), options.pop("padding")
    step = (max(strides[: site.rank]),) * 3
    spread = (max(dilation[: site.rank]),) * 3
    return site.make_spatial(
        "SeparableConv{}",
        filters,
        depth_multiplier=multiplier,
        **_geometry(site, kernel, step, spread, padding),
        **options,
    )


@layer(2, filters=FILTERS, **CONV)
def transposed(site, filters, kernel, strides, **options):
    if not site.rank or max(site.sizes) > LARGEST:
        return conv(site, filters, kernel, strides, **options)
    # TensorFlow's has no dilation on a CPU.
    del options["dilation"]
    return site.make_spatial(
        "Conv{}Transpose",
        filters,
        kernel[: site.rank],
        strides=strides[: site.rank],
        **options,
    )


@layer(2, filters=FILTERS, use_bias=BOOL, activation=ACTIVATION, **FROZEN)
def dense(site, filters, **options):
    if site.is_open and site.is_first:
        return conv(site, filters, (1, 1, 1), **options)
    return site.make(layers.Dense, filters, **options)


@layer(
    2,
    filters=FILTERS,
    kernel=SIZE,
    strides=STEP,
    padding=PADDING,
    is_rep=BOOL,
    activation=ACTIVATION,
)
def rep(site, filters, kernel, strides, padding, is_rep, activation):
    geometry = filters, kernel, strides, (1, 1, 1), padding
    if site.rank != 2:
        return conv(site, *geometry, activation=activation)
    options = _geometry(site, *geometry[1:])
    kind = RepConv if is_rep else DBBConv
    return site.make_spatial(kind, filters, activation=activation, **options)


@keras.saving.register_keras_serializable("tests")
class Unit(layers.Layer):
    """A user's layer with a convolution and a normalization inside."""

    def __init__(self, filters, data_format, rank, **kwargs):
        super().__init__(**kwargs)
        self.options = {
            "filters": filters,
            "data_format": data_format,
            "rank": rank,
        }
        kind = getattr(layers, f"Conv{rank}D") if rank else layers.Dense
        more = {"kernel_size": 3, "padding": "same", "data_format": data_format}
        self.conv = kind(
            filters,
            kernel_initializer="zeros",
            name="conv",
            **(more if rank else {}),
        )
        axis = 1 if rank and data_format == "channels_first" else -1
        self.norm = layers.BatchNormalization(axis=axis, name="norm")

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build(self.conv.compute_output_shape(input_shape))

    def call(self, x, training=None):
        y = self.norm(self.conv(x), training=training)
        y = keras.ops.relu(y)
        return y + x if y.shape == x.shape else y

    def get_config(self):
        return {**super().get_config(), **self.options}


@layer(2, filters=FILTERS, keep=BOOL)
def unit(site, filters, keep):
    return site.make_spatial(
        Unit, site.channels if keep else filters, rank=site.rank
    )
