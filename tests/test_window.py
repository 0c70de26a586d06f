"""Sampling under the centre tap, and images with constant surroundings."""

import itertools

import numpy as np
import oracle
import pytest
from arrays import array
from keras import ops

from keras_rep.grid import Grid
from keras_rep.kernel import Kernel
from keras_rep.window import Window

GEOMETRIES = [
    *itertools.product([(3, 3), (2, 5)], [(2, 2), (1, 3)], [(1, 1)]),
    *itertools.product([(3, 4), (5, 1)], [(1, 1)], [(1, 1), (2, 2)]),
]
PADDINGS = ["same", "valid", "centered"]
SIZES = [(9, 8), (10, 11)]


def padded_with(image, margin, geometry, padding):
    """The image on a ground of the margin's colour, padded for real."""
    return oracle.pad(image - margin, *geometry, padding) + margin


@pytest.fixture(params=["channels_last", "channels_first"])
def window(request, rng):
    """Makes a window, and its image and margin as float64 arrays."""

    def make(size):
        image = rng.normal(size=(2, *size, 4)).astype("float32")
        margin = rng.normal(size=4).astype("float32")
        signal = image - margin
        if request.param == "channels_first":
            signal = signal.transpose(0, 3, 1, 2)
        tensors = map(ops.convert_to_tensor, (signal, margin))
        return Window(*tensors, request.param), image, margin

    return make


def channels_last(window):
    values = array(window.values())
    if window.data_format == "channels_first":
        return values.transpose(0, 2, 3, 1)
    return values


def skip_without_channels_first(window, backend):
    if backend == "tensorflow" and window.data_format == "channels_first":
        pytest.skip("TensorFlow has no channels-first convolution on a CPU")


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_sampling_takes_the_pixels_under_the_centre(window, geometry, padding):
    for size in SIZES:
        view, image, margin = window(size)

        sampled = view.sample(Grid(*geometry, padding))

        padded = padded_with(image, margin, geometry, padding)
        expected = oracle.centre_pixels(padded, *geometry)
        np.testing.assert_allclose(channels_last(sampled), expected, atol=1e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_smaller_kernels_read_around_the_centre(
    window, geometry, padding, rng, backend
):
    kernel_size, strides, dilation = geometry
    for inner in {kernel_size, (1, 1), (1, kernel_size[1]), (2, 1)}:
        if inner[0] > kernel_size[0]:
            continue
        kernel = rng.normal(size=(*inner, 4, 3)).astype("float32")
        bias = rng.normal(size=3).astype("float32")
        view, image, margin = window(SIZES[0])
        skip_without_channels_first(view, backend)

        result = view.convolve(
            Kernel.of(*map(ops.convert_to_tensor, (kernel, bias))),
            Grid(*geometry, padding),
        )

        padded = padded_with(image, margin, geometry, padding)
        whole = Kernel.of(kernel, bias).embed(kernel_size).kernel
        expected = oracle.convolve(padded, whole, strides, dilation) + bias
        # Up to twenty products of float32 numbers around 1.
        np.testing.assert_allclose(channels_last(result), expected, atol=1e-5)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_output_sizes_are_those_of_a_padded_convolution(geometry, padding):
    kernel = np.ones((*geometry[0], 1, 1))
    for size in SIZES:
        padded = oracle.pad(np.ones((1, *size, 1)), *geometry, padding)
        expected = oracle.convolve(padded, kernel, *geometry[1:])

        assert (
            Grid(*geometry, padding).output_sizes(size) == expected.shape[1:3]
        )


def test_a_window_is_sampled_once(window):
    view, _, _ = window((9, 8))
    grid = Grid((3, 3))
    sampled = view.sample(grid)

    with pytest.raises(ValueError, match="sample a window twice"):
        sampled.sample(grid)
    with pytest.raises(ValueError, match="before or after the sampling term"):
        sampled.convolve(Kernel.of(ops.ones((3, 3, 4, 4)), None), grid)
