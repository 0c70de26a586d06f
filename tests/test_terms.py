"""Terms obey their law, and train like the plain layers they stand for."""

import numpy as np
import oracle
import pytest
from arrays import array, randomize
from keras import ops

from keras_rep.grid import Grid
from keras_rep.kernel import Kernel
from keras_rep.terms import (
    AddSlices,
    AveragePool,
    Chain,
    ChannelScale,
    Concat,
    Conv,
    Dirac,
    FixedFilter,
    Identity,
    Merged,
    Norm,
    Repeat,
    Slice,
    Sum,
    Term,
    impulse_response,
    read_numpy,
)
from keras_rep.window import Window


class Difference(Term):
    """A term of a user who wrote only `call`."""

    kernel_size = (3, 1)

    def build(self, input_shape):
        super().build(input_shape)
        self.gain = self.add_weight(shape=(self.channels,), name="gain")

    def call(self, inputs, training=None):
        gain = ops.convert_to_tensor(self.gain)
        return gain * (inputs[:, 2:] - inputs[:, :-2]) + 0.25


class Blur(Term):
    """A term of a user who wrote only `to_kernel`."""

    kernel_size = (2, 2)

    def build(self, input_shape):
        super().build(input_shape)
        self.gain = self.add_weight(shape=(self.channels,), name="gain")

    def to_kernel(self, read=read_numpy):
        box = np.full((2, 2, 1, self.channels), 0.25)
        zeros = read(np.zeros(self.channels))
        return Kernel.of(read(box), zeros, self.channels).scale(
            read(self.gain), zeros
        )


TERMS = {
    "conv": lambda: Conv(6, (3, 2), groups=2, use_bias=True),
    "norm": lambda: Norm(center=False),
    "chain": lambda: Chain(Conv(6), Norm(), Conv(6, 3), Norm(scale=False)),
    "sum": lambda: Sum(kxk=Chain(Conv(4, 3), Norm()), identity=Norm()),
    "nested": lambda: Chain(
        Sum(left=Conv(6), right=Chain(Conv(6), Norm())), Conv(6, (1, 3))
    ),
    "identity": Identity,
    "slice": lambda: Chain(Norm(), Slice(1, 3)),
    "average": lambda: Chain(Conv(6), Norm(), AveragePool((3, 2)), Norm()),
    "filter": lambda: FixedFilter(np.arange(24.0).reshape(2, 3, 4) / 24),
    "add_slices": lambda: Chain(Conv(12, groups=2), Norm(), AddSlices(3, 2)),
    "repeat": lambda: Chain(Norm(), Repeat(2, 2), Conv(4, 3, groups=2)),
    "scale": lambda: Chain(Conv(6, 3), ChannelScale(shared=True)),
    "dirac": lambda: Dirac(6, 3, groups=2),
    "concat": lambda: Concat(
        left=Chain(Slice(2), Norm()), right=Chain(Conv(5, 3), Norm())
    ),
    "merged": lambda: Chain(
        Merged(Sum(a=Conv(6, 3), b=Chain(Conv(8, (1, 3)), Conv(6, (2, 1))))),
        Norm(),
    ),
    "call": Difference,
    "to_kernel": Blur,
    "mixed": lambda: Sum(a=Difference(), b=Chain(Norm(), Blur()), c=Conv(4, 3)),
}


@pytest.fixture(params=TERMS)
def term(request):
    term = TERMS[request.param]()
    term.build((None, None, None, 4))
    randomize(term)
    return term


def test_the_law(term, rng):
    image = rng.normal(size=(2, 6, 7, 4)).astype("float32")

    values = array(term(image, training=False))

    kernel = term.to_kernel()
    expected = oracle.convolve(image, kernel.kernel, groups=kernel.groups)
    assert values.shape == tuple(term.compute_output_shape(image.shape))
    # Float32 sums of up to some fifty products of numbers around 1.
    np.testing.assert_allclose(values, expected + kernel.bias, atol=2e-5)


def test_the_kernel_is_the_impulse_response(term):
    kernel = term.to_kernel().regroup(1)
    response = impulse_response(term)

    np.testing.assert_allclose(kernel.kernel, response.kernel, atol=2e-6)
    np.testing.assert_allclose(kernel.bias, response.bias, atol=2e-6)


@pytest.mark.parametrize("strides", [1, 2])
def test_user_terms_work_on_any_grid(term, strides, rng):
    image = rng.normal(size=(1, 8, 9, 4)).astype("float32")
    grid = Grid((5, 4), (strides, strides), (1, 1), "same")
    window = Window(ops.convert_to_tensor(image), None, "channels_last")

    values = term.apply(window, grid, training=False).values()

    kernel = term.to_kernel()
    tensors = map(
        ops.convert_to_tensor,
        (kernel.to_numpy("float32"), kernel.bias.astype("float32")),
    )
    expected = window.convolve(Kernel.of(*tensors, kernel.groups), grid)
    np.testing.assert_allclose(
        array(values),
        array(expected.values()),
        atol=2e-5,
    )


def test_a_term_needs_one_of_two_methods():
    class Empty(Term):
        pass

    term = Empty()
    term.build((None, None, None, 4))

    with pytest.raises(NotImplementedError, match="neither `call` nor"):
        term.to_kernel()


def test_a_term_with_call_alone_cannot_be_dilated(rng):
    term = Difference()
    term.build((None, None, None, 4))
    window = Window(ops.ones((1, 8, 8, 4)), None, "channels_last")

    with pytest.raises(ValueError, match="cannot be dilated"):
        term.apply(window, Grid((3, 3), dilation_rate=(2, 2)), False)


def test_branches_of_a_sum_need_equal_filters():
    term = Sum(a=Conv(4), b=Conv(6))

    with pytest.raises(ValueError, match=r"different filters.*'b': 6"):
        term.build((None, None, None, 4))


def test_branches_cannot_hide_attributes_of_layers():
    with pytest.raises(ValueError, match="branch named 'dtype_policy'"):
        Sum(dtype_policy=Norm())


@pytest.mark.parametrize("between", [Norm, Difference])
def test_a_chain_that_no_kernel_stands_for_has_one_spatial_term(between):
    term = Chain(Conv(4, 3), between(), Conv(4, 3))

    with pytest.raises(ValueError, match=r"terms larger than 1×1.*one larger"):
        term.build((None, None, None, 4))


@pytest.mark.parametrize("inner", [Norm, Difference])
def test_no_kernel_is_merged_from_what_has_none_in_training(inner):
    term = Merged(Chain(Conv(4), inner()))

    with pytest.raises(ValueError, match=r"no kernel stands for.*behind"):
        term.build((None, None, None, 4))


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (2, 2), (-1, 2)])
def test_slices_lie_within_the_channels(start, stop):
    with pytest.raises(ValueError, match=f"slice channels {start} to {stop}"):
        Slice(start, stop).build((None, None, None, 4))


def test_weights_are_named_by_branch_and_role():
    term = Sum(wide=Chain(Conv(4, 3), Norm(), Conv(4)), identity=Norm())
    term.name = "block"
    term.build((None, None, None, 4))

    paths = {variable.path for variable in term.weights}

    assert "block/wide/conv/kernel" in paths
    assert "block/wide/conv_1/kernel" in paths
    assert "block/identity/gamma" in paths


def test_multiply_adds_count_what_runs_where():
    term = Chain(Conv(6), Norm(), Conv(8, 3))
    term.build((None, None, None, 4))

    count = term.multiply_adds(pixels=100, samples=25)

    assert count == 4 * 6 * 100 + 9 * 6 * 8 * 25
