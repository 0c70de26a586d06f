"""The laws of the kernel algebra."""

import math

import numpy as np
import oracle
import pytest
from arrays import array
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_rep.kernel import Kernel

# Sums of some hundred products of float64 numbers around 1.
TOLERANCE = 1e-12

settings.register_profile("kernel", deadline=None, max_examples=60)
settings.load_profile("kernel")

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4))
GROUPS = st.sampled_from([1, 2, 4])


def make(rng, size, channels, filters, groups=1):
    shape = (*size, channels // groups, filters)
    return Kernel.of(rng.normal(size=shape), rng.normal(size=filters), groups)


def apply(kernel, image):
    return (
        oracle.convolve(image, kernel.kernel, groups=kernel.groups)
        + kernel.bias
    )


@st.composite
def kernels(draw, channels=8, filters=8):
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return make(rng, draw(SIZES), channels, filters, draw(GROUPS))


@st.composite
def images(draw):
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return rng.normal(size=(2, 9, 8, 8))


@given(kernels(), kernels(), images())
def test_compose_is_one_convolution_after_the_other(a, b, image):
    result = apply(a.compose(b), image)

    expected = apply(b, apply(a, image))
    np.testing.assert_allclose(result, expected, atol=TOLERANCE * 100)


@given(kernels(), kernels(), kernels())
def test_compose_is_associative(a, b, c):
    left, right = a.compose(b).compose(c), a.compose(b.compose(c))

    assert left.groups == right.groups
    np.testing.assert_allclose(left.kernel, right.kernel, atol=1e-10)
    np.testing.assert_allclose(left.bias, right.bias, atol=1e-10)


@given(kernels(), kernels(), st.integers(0, 99))
def test_compose_distributes_over_add(a, b, seed):
    c = make(np.random.default_rng(seed), (2, 3), 8, 8)

    left = a.add(b).compose(c)
    size = left.kernel_size
    right = a.compose(c).embed(size).add(b.compose(c).embed(size))

    # Even sizes round the centre, so that only equal parities align.
    sizes = np.array([a.kernel_size, b.kernel_size])
    if not ((sizes[0] - sizes[1]) % 2).any():
        np.testing.assert_allclose(left.kernel, right.kernel, atol=1e-10)
    # A bias goes through `c`, and through `c`'s own bias once.
    np.testing.assert_allclose(left.bias, right.bias - c.bias, atol=1e-10)


@given(kernels(), images())
def test_embedding_reads_the_same_pixels(kernel, image):
    size = tuple(k + 2 for k in kernel.kernel_size)

    result = apply(
        kernel.embed(size), np.pad(image, [(0, 0), (1, 1), (1, 1), (0, 0)])
    )

    np.testing.assert_allclose(result, apply(kernel, image), atol=TOLERANCE)


@given(kernels(), images())
def test_regrouping_changes_nothing(kernel, image):
    result = apply(kernel.regroup(1), image)

    np.testing.assert_allclose(result, apply(kernel, image), atol=TOLERANCE)


@given(kernels(), images(), st.integers(0, 99))
def test_scale_acts_on_the_output(kernel, image, seed):
    gain, offset = np.random.default_rng(seed).normal(size=(2, 8))

    result = apply(kernel.scale(gain, offset), image)

    expected = apply(kernel, image) * gain + offset
    np.testing.assert_allclose(result, expected, atol=TOLERANCE * 10)


@given(kernels(), st.integers(0, 99))
def test_respond_is_the_answer_to_a_constant_image(kernel, seed):
    colour = np.random.default_rng(seed).normal(size=8)

    image = np.broadcast_to(colour, (1, 5, 5, 8))

    expected = apply(kernel, image)[0, 0, 0]
    result = kernel.respond(colour) + kernel.bias
    np.testing.assert_allclose(result, expected, atol=TOLERANCE * 10)


def test_diagonal_scales_channels(rng):
    gain, offset = rng.normal(size=(2, 8))
    image = rng.normal(size=(1, 4, 4, 8))

    result = apply(Kernel.diagonal(gain, offset), image)

    np.testing.assert_allclose(result, image * gain + offset, atol=TOLERANCE)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_backend_tensors_follow_the_same_algebra(rng, groups):
    def both(size):
        exact = make(rng, size, 8, 8, groups)
        part = exact.parts[0].weights.astype("float32")
        tensors = map(
            ops.convert_to_tensor, (part, exact.bias.astype("float32"))
        )
        return exact, Kernel.of(*tensors, groups)

    (a, a_tensor), (b, b_tensor), (c, c_tensor) = map(
        both, [(3, 2), (1, 1), (3, 2)]
    )
    gain, offset = rng.normal(size=(2, 8)).astype("float32")

    exact = a.compose(b).scale(gain, offset).add(c)
    scale = map(ops.convert_to_tensor, (gain, offset))
    tensor = a_tensor.compose(b_tensor).scale(*scale).add(c_tensor)

    # Float32 against float64.
    np.testing.assert_allclose(array(tensor.kernel), exact.kernel, atol=1e-5)
    np.testing.assert_allclose(array(tensor.bias), exact.bias, atol=1e-5)


def test_arithmetic_on_float32_arrays_is_float64(rng):
    third = np.full((1, 1, 1, 1), 1 / 3, "float32")
    kernel = Kernel.of(third, np.zeros(1, "float32"))

    product = kernel.scale(third[0, 0, 0], third[0, 0, 0]).kernel

    assert product.dtype == "float64"
    assert product.item() == float(third.item()) ** 2


def test_rounding_happens_once(rng):
    kernel = make(rng, (3, 3), 4, 4).scale(*rng.normal(size=(2, 4)))

    rounded = kernel.to_numpy("float32")

    assert rounded.dtype == "float32"
    np.testing.assert_array_equal(rounded, kernel.kernel.astype("float32"))


def test_kernels_are_ready_for_jax_to_adopt():
    kernel = Kernel.of(np.ones((3, 3, 5, 7)), np.zeros(7))

    assert kernel.to_numpy("float32").ctypes.data % 64 == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: a.add(b), "different channels"),
        (lambda a, b: b.compose(b), "compose a kernel of 8 filters"),
        (lambda a, b: a.embed((1, 1)), "embed a kernel of size"),
        (lambda a, b: a.regroup(2), "1 groups with 2"),
    ],
)
def test_impossible_operations_are_explained(rng, call, message):
    a, b = make(rng, (3, 3), 8, 8), make(rng, (3, 3), 4, 8)

    with pytest.raises(ValueError, match=message):
        call(a, b)


def test_groups_of_a_composition_are_the_common_ones(rng):
    a, b = make(rng, (1, 1), 8, 8, 8), make(rng, (3, 3), 8, 8, 4)

    assert a.compose(b).groups == math.gcd(8, 4)


@given(kernels(), kernels(filters=4), images())
def test_concat_puts_outputs_side_by_side(a, b, image):
    size = tuple(map(max, a.kernel_size, b.kernel_size))

    result = apply(a.concat(b), image)

    parts = [apply(each.embed(size), image) for each in (a, b)]
    expected = np.concatenate(parts, axis=-1)
    np.testing.assert_allclose(result, expected, atol=TOLERANCE)


@given(kernels(channels=4), kernels(channels=4), images())
def test_concat_inputs_reads_both_halves(a, b, image):
    size = tuple(map(max, a.kernel_size, b.kernel_size))

    result = apply(a.concat_inputs(b), image)

    expected = apply(a.embed(size), image[..., :4])
    expected += apply(b.embed(size), image[..., 4:])
    np.testing.assert_allclose(result, expected, atol=TOLERANCE)


@given(SIZES, GROUPS, GROUPS, images())
def test_direct_sum_keeps_both_apart(size, groups, more_groups, image):
    rng = np.random.default_rng(0)
    a, b = (make(rng, size, 4, 4, each) for each in (groups, more_groups))
    total = a.direct_sum(b)

    parts = [apply(a, image[..., :4]), apply(b, image[..., 4:])]
    expected = np.concatenate(parts, axis=-1)
    np.testing.assert_allclose(apply(total, image), expected, atol=TOLERANCE)


def test_direct_sum_of_depthwise_kernels_is_depthwise():
    rng = np.random.default_rng(0)
    a, b = make(rng, (3, 3), 4, 4, 4), make(rng, (3, 3), 6, 6, 6)

    assert a.direct_sum(b).groups == 10
    assert a.direct_sum(make(rng, (3, 3), 6, 6)).groups == 1


@given(SIZES, images())
def test_average_counts_every_pixel_alike(size, image):
    kernel = Kernel.average(np.ones(8), np.zeros(8), size)

    result = apply(kernel, image)

    patch = image[:, 1 : 1 + size[0], 2 : 2 + size[1]]
    np.testing.assert_allclose(
        result[:, 1, 2], patch.mean(axis=(1, 2)), atol=TOLERANCE
    )
