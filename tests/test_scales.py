"""Integers and the real numbers that they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_rep.quantize.histogram import Histogram
from keras_rep.quantize.scales import Scale, coarse, round_weights

bounds = st.floats(0, 1e6) | st.floats(1e-6, 1.0)


@given(bounds, bounds)
def test_zero_is_one_of_the_numbers(low, high):
    scale = Scale.of(-low, high)

    assert scale.rounded(0.0) == 0.0
    smallest, largest = scale.bounds
    assert smallest <= 0 <= largest
    # No bound moves by more than half a step.
    half = 0.5000001 * scale.step
    if low + high > 1e-30:
        assert abs(smallest + low) <= half
        assert abs(largest - high) <= half


@given(bounds, bounds, st.floats(-2e6, 2e6))
def test_rounding_finds_the_nearest_number(low, high, value):
    scale = Scale.of(-low, high)
    smallest, largest = scale.bounds
    numbers = np.linspace(smallest, largest, 256)

    nearest = np.abs(numbers - value).min()

    error = abs(scale.rounded(value) - value)
    np.testing.assert_allclose(error, nearest, rtol=1e-6, atol=1e-9)


def test_sixteen_bits_are_symmetric():
    scale = Scale.of(-1.0, 3.0, 16)

    assert scale.zero_point == 0
    np.testing.assert_allclose(scale.bounds, (-3.0, 3.0))


@given(st.floats(1e-30, 1e30))
def test_coarse_bounds_grow_by_less_than_two_percent(value):
    low, high = coarse(-value, value)

    assert low == -high
    assert value * (1 - 2e-5) <= high < value * (1 + 2 / 127)


@given(st.floats(1e-3, 1e3), st.floats(-1e-6, 1e-6))
def test_coarse_bounds_of_rounding_noise_seldom_differ(value, noise):
    _, exact = coarse(0.0, value)
    _, noisy = coarse(0.0, exact * (1 + noise))

    assert noisy == exact


def test_weights_become_127_steps_of_each_channel(rng):
    kernel = rng.normal(size=(3, 3, 4, 5)) * np.exp(rng.normal(size=5) * 3)
    kernel[..., 2] = 0

    rounded = round_weights(kernel, (0, 1, 2))

    largest = np.abs(kernel).max((0, 1, 2))
    np.testing.assert_allclose(np.abs(rounded).max((0, 1, 2)), largest)
    steps = np.where(largest, largest, 1) / 127
    grid = rounded / steps
    np.testing.assert_allclose(grid, np.round(grid), atol=1e-9)
    assert (np.abs(rounded - kernel) <= 0.5000001 * steps).all()
    assert not rounded[..., 2].any()


@pytest.mark.parametrize("count", [1, 7])
def test_a_histogram_does_not_depend_on_the_order(rng, count):
    values = rng.normal(size=1000) * 10.0 ** rng.integers(-4, 4, 1000)
    whole, parts = Histogram(), Histogram()
    whole.add(values)
    for part in np.array_split(rng.permutation(values), count):
        parts.add(part)

    for share in (0.9, 0.99, 1.0):
        assert whole.percentile(share) == parts.percentile(share)
    assert whole.low == np.float32(values.min())
    assert whole.high == np.float32(values.max())


@pytest.mark.parametrize("share", [0.9, 0.99, 0.999])
def test_percentiles(rng, share):
    values = rng.normal(1.0, 2.0, 100_000)
    histogram = Histogram()
    histogram.add(values)

    low, high = histogram.percentile(share)

    expected = np.quantile(values, [1 - share, share])
    # Up to two bins of 1/2048 to 1/1024 of the largest value.
    width = np.abs(values).max() / 512
    assert expected[0] - width <= low <= expected[0]
    assert expected[1] <= high <= expected[1] + width


def test_zeros_alone_are_a_range():
    histogram = Histogram()
    histogram.add(np.zeros(10))

    assert histogram.percentile(0.99) == (0.0, 0.0)
    assert histogram.least_squares() == (0.0, 0.0)


def test_least_squares_leaves_out_what_costs_more_than_it_is_worth(rng):
    values = np.append(rng.normal(size=100_000), 60.0)
    histogram = Histogram()
    histogram.add(values)

    low, high = histogram.least_squares()

    def error(bounds):
        rounded = Scale.of(*bounds).rounded(values)
        return np.square(values - rounded).sum()

    assert high < 60
    assert error((low, high)) < error((values.min(), values.max()))
