"""Linear terms: the branches of a re-parameterized block, and how they join.

A `Term` is linear in its input and obeys one law:

    term(x, training=False) == valid convolution of x with term.to_kernel()

Leaves are convolutions and per-channel normalizations; `Chain` puts terms in a
row, `Sum` side by side. A term knows neither strides nor padding: the layer
that holds it samples it under the centre tap of its deployed kernel
(`window.Grid`).

A term of your own gives at least one of two methods: `to_kernel(read)`, its
kernel written in the algebra of `keras_rep.kernel`, or `call(inputs,
training)`, a valid convolution with stride 1 of a channels-last image.
"""

import collections
import math

import keras
import numpy as np
from keras import ops

from keras_rep import backend
from keras_rep.kernel import Kernel, batch_norm_affine
from keras_rep.window import Grid, Window


def read_float64(value):
    """Reads a variable or array for deployment: exact, as float64 numpy."""
    return np.asarray(ops.convert_to_numpy(value)).astype("float64")


def read_tensor(value):
    """Reads a variable or array for a computation on the backend."""
    return ops.cast(ops.convert_to_tensor(value), "float32")


class Term(keras.layers.Layer):
    """A linear map of images. See the module's docstring for its law.

    Attributes:
        kernel_size: Taps of the term's kernel, per axis.
        channels: Number of input channels, known once built.
        filters: Number of output channels, known once built.
    """

    kernel_size = (1, 1)

    def build(self, input_shape):
        """Creates the term's weights.

        Args:
            input_shape: Shape of a channels-last image, whatever the data
                format of the layer that holds the term.
        """
        self.channels = self.filters = input_shape[-1]

    def to_kernel(self, read=read_float64):
        """The term as one kernel; normalizations by their moving statistics.

        Without an override it is the term's impulse response.

        Args:
            read: Function that turns a variable or a numpy array into an
                operand: `read_float64` or `read_tensor`.

        Returns:
            A `Kernel`.
        """
        if type(self).call is Term.call:
            raise NotImplementedError(
                f"Term '{type(self).__name__}' has neither `call` nor "
                "`to_kernel`. Expected at least one of the two. Override "
                "`to_kernel(self, read)` if the kernel is easy to write down."
            )
        response = impulse_response(self)
        return Kernel(read(response.kernel), read(response.bias))

    def call(self, inputs, training=None):
        """Applies the term as a valid convolution with stride 1.

        Args:
            inputs: Channels-last image tensor.
            training: Whether normalizations use the batch's statistics.
        """
        window = Window(inputs, None, "channels_last")
        return self.apply(window, Grid(self.kernel_size), training).values()

    def apply(self, window, grid, training):
        """Applies the term to an image in unlimited surroundings.

        Args:
            window: The input, a `Window`.
            grid: The `Grid` to sample, or `None` to keep every pixel, which
                only a term of size 1×1 can.
            training: Whether normalizations use the batch's statistics.

        Returns:
            A `Window`, sampled if there was a grid.
        """
        if type(self).to_kernel is not Term.to_kernel:
            return window.convolve(self.to_kernel(read_tensor), grid)
        strides = (1, 1)
        if grid is not None:
            if grid.dilation_rate != (1, 1) and self.kernel_size != (1, 1):
                raise ValueError(
                    f"Term '{type(self).__name__}' cannot be dilated. "
                    f"Received: dilation_rate={grid.dilation_rate}. Expected "
                    "1, because its `call` reads adjacent pixels. Override "
                    "`to_kernel(self, read)`."
                )
            window, strides = window.pad(self.kernel_size, grid), grid.strides
        values = window.values()
        first = window.data_format == "channels_first"
        if first:
            values = ops.transpose(values, (0, 2, 3, 1))
        values = self.call(values, training=training)
        if first:
            values = ops.transpose(values, (0, 3, 1, 2))
        window = window._replace(signal=values, margin=None)
        return window if grid is None else window.stride(strides)

    def multiply_adds(self, pixels, samples):
        """Multiply-adds of one training-form call, for one image.

        Args:
            pixels: Number of pixels of the input image.
            samples: Number of positions that the layer's grid samples.
        """
        return 0

    def compute_output_shape(self, input_shape):
        batch, *sizes, _ = input_shape
        sizes = Grid(self.kernel_size).output_sizes(sizes)
        return (batch, *sizes, self.filters)


def impulse_response(term, amplitude=1024.0):
    """The kernel of any linear term, by pushing one-hot patches through it.

    Args:
        term: A built `Term`.
        amplitude: Height of the impulses, a power of two. A large one keeps
            the bias from cancelling the response's digits.

    Returns:
        A float64 numpy `Kernel` with one group.
    """
    size = (*term.kernel_size, term.channels)
    taps = math.prod(size)
    # The last row is all zero and answers with the bias alone.
    patches = amplitude * np.eye(taps + 1, taps, dtype="float32")
    patches = ops.convert_to_tensor(patches.reshape(-1, *size))
    response = read_float64(term(patches, training=False))[:, 0, 0]
    bias = response[-1]
    kernel = (response[:-1] - bias) / amplitude
    return Kernel(kernel.reshape(*size, -1), bias)


class Conv(Term):
    """Convolution, without bias unless asked for one.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        groups: Number of channel groups.
        use_bias: Whether to add a bias, initially zero.
        kernel_initializer: Initializer of the kernel.
        kernel_regularizer: Regularizer of the kernel.
        kernel_constraint: Constraint of the kernel.
    """

    def __init__(
        self,
        filters,
        kernel_size=1,
        *,
        groups=1,
        use_bias=False,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        kernel_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        if isinstance(kernel_size, int):
            kernel_size = (kernel_size, kernel_size)
        self.kernel_size = tuple(kernel_size)
        self.groups = groups
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape):
        self.channels = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(
                *self.kernel_size,
                self.channels // self.groups,
                self.filters,
            ),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.filters,), initializer="zeros"
            )

    def to_kernel(self, read=read_float64):
        bias = np.zeros(self.filters) if self.bias is None else self.bias
        return Kernel(read(self.kernel), read(bias), self.groups)

    def apply(self, window, grid, training):
        kernel = ops.convert_to_tensor(self.kernel, dtype=self.compute_dtype)
        bias = None if self.bias is None else read_tensor(self.bias)
        signal = ops.cast(window.signal, self.compute_dtype)
        return window._replace(signal=signal).convolve(
            Kernel(kernel, bias, self.groups), grid
        )

    def multiply_adds(self, pixels, samples):
        return math.prod(self.kernel.shape) * samples


class Norm(Term):
    """Batch normalization over the channels.

    Args:
        momentum: Weight of the old value in the moving statistics.
        epsilon: Added to the variance.
        center: Whether to add a trainable offset, `beta`.
        scale: Whether to multiply by a trainable gain, `gamma`.
        gamma_initializer: Initializer of `gamma`.
    """

    def __init__(
        self,
        *,
        momentum=0.9,
        epsilon=1e-5,
        center=True,
        scale=True,
        gamma_initializer="ones",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape):
        super().build(input_shape)
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self._add_vector("gamma", self.gamma_initializer)
        if self.center:
            self.beta = self._add_vector("beta", "zeros")
        self.moving_mean = self._add_vector("moving_mean", "zeros", False)
        self.moving_variance = self._add_vector(
            "moving_variance", "ones", False
        )

    def _add_vector(self, name, initializer, trainable=True):
        return self.add_weight(
            name=name,
            shape=(self.channels,),
            initializer=initializer,
            trainable=trainable,
            autocast=False,
        )

    def affine(self, read=read_float64):
        """The normalization by moving statistics, as `(gain, offset)`."""
        return batch_norm_affine(
            read,
            self.moving_mean,
            self.moving_variance,
            self.gamma,
            self.beta,
            self.epsilon,
        )

    def to_kernel(self, read=read_float64):
        return Kernel.diagonal(*self.affine(read))

    def apply(self, window, grid, training):
        if grid is not None:
            window = window.sample(grid)
        if training and self.trainable:
            return self._apply_batch(window)
        # Half precision cannot carry the offsets of several branches that
        # cancel, so the sum of a block runs in float32.
        signal = ops.cast(window.signal, "float32")
        return window._replace(signal=signal).convolve(
            self.to_kernel(read_tensor)
        )

    def _apply_batch(self, window):
        ones, zeros = np.ones(self.channels), np.zeros(self.channels)
        gamma = read_tensor(ones if self.gamma is None else self.gamma)
        beta = read_tensor(zeros if self.beta is None else self.beta)
        # The margin shifts image and mean alike, so it drops out here.
        signal, mean, variance = backend.normalize_batch(
            window.signal, gamma, beta, self.epsilon, window.data_format
        )
        if window.margin is not None:
            mean = ops.add(mean, window.margin)
        self._track(self.moving_mean, mean)
        self._track(self.moving_variance, variance)
        if window.sampled:
            return window._replace(signal=signal, margin=None)
        # Outside the image the moving statistics hold, without gradient, as
        # in the Diverse Branch Block (arXiv 2103.13425).
        gain, margin = self.affine(read_tensor)
        if window.margin is not None:
            margin = ops.add(margin, ops.multiply(gain, window.margin))
        margin = ops.stop_gradient(margin)
        shift = backend.per_channel(
            ops.cast(margin, signal.dtype), window.data_format
        )
        return window._replace(
            signal=ops.subtract(signal, shift), margin=margin
        )

    def _track(self, moving, batch):
        batch = ops.stop_gradient(batch)
        old = read_tensor(moving)
        moving.assign(self.momentum * old + (1.0 - self.momentum) * batch)


class Chain(Term):
    """Terms in a row, the output of each being the input of the next.

    At most one of them may be larger than 1×1: it samples the layer's grid,
    and the terms before it see the whole image.

    Args:
        *terms: The terms, in the order in which they apply.
    """

    def __init__(self, *terms, **kwargs):
        super().__init__(**kwargs)
        self.terms = list(terms)
        used = collections.Counter()
        for term in terms:
            name = type(term).__name__.lower()
            term.name = f"{name}_{used[name]}" if used[name] else name
            used[name] += 1

    def build(self, input_shape):
        self.channels = input_shape[-1]
        for term in self.terms:
            term.dtype_policy = self.dtype_policy
            term.build(input_shape)
            input_shape = (*input_shape[:-1], term.filters)
        self.filters = input_shape[-1]
        spatial = [
            index
            for index, term in enumerate(self.terms)
            if term.kernel_size != (1, 1)
        ]
        if len(spatial) > 1:
            sizes = [self.terms[index].kernel_size for index in spatial]
            raise ValueError(
                f"Chain has {len(spatial)} terms larger than 1×1, of sizes "
                f"{sizes}. Expected at most one, because the surroundings of "
                "an image are not constant behind it. Use one larger kernel."
            )
        self.sampling_index = spatial[0] if spatial else 0
        self.kernel_size = self.terms[self.sampling_index].kernel_size

    def to_kernel(self, read=read_float64):
        first, *rest = self.terms
        kernel = first.to_kernel(read)
        for term in rest:
            kernel = kernel.compose(term.to_kernel(read))
        return kernel

    def apply(self, window, grid, training):
        for index, term in enumerate(self.terms):
            sampling = grid if index == self.sampling_index else None
            window = term.apply(window, sampling, training)
        return window

    def multiply_adds(self, pixels, samples):
        total = 0
        for index, term in enumerate(self.terms):
            after = samples if index >= self.sampling_index else pixels
            total += term.multiply_adds(pixels, after)
        return total


class Sum(Term):
    """Terms side by side on the same input, added up.

    Args:
        **branches: The terms by name. The names become attributes and the
            paths of the weights, so that saved weights survive a reordering.
    """

    def __init__(self, **branches):
        layer_arguments = {
            name: branches.pop(name)
            for name in ("name", "dtype", "trainable")
            if name in branches
        }
        super().__init__(**layer_arguments)
        self.branch_names = tuple(branches)
        for name, branch in branches.items():
            if hasattr(self, name):
                raise ValueError(
                    f"Received a branch named '{name}', which is an attribute "
                    "of every Keras layer. Expected another name. Rename it, "
                    f"for example to '{name}_branch'."
                )
            branch.name = name
            setattr(self, name, branch)

    def branches(self):
        """The branches, in the order in which they were given."""
        return [getattr(self, name) for name in self.branch_names]

    def build(self, input_shape):
        self.channels = input_shape[-1]
        for branch in self.branches():
            branch.dtype_policy = self.dtype_policy
            branch.build(input_shape)
        filters = {
            name: getattr(self, name).filters for name in self.branch_names
        }
        if len(set(filters.values())) != 1:
            raise ValueError(
                f"Cannot add branches with different filters: {filters}. "
                "Expected the same number in each. Set `filters` of the last "
                "convolution of every branch to the same value."
            )
        self.filters = self.branches()[0].filters
        sizes = [branch.kernel_size for branch in self.branches()]
        self.kernel_size = tuple(map(max, *sizes)) if sizes[1:] else sizes[0]

    def to_kernel(self, read=read_float64):
        first, *rest = self.branches()
        kernel = first.to_kernel(read).embed(self.kernel_size)
        for branch in rest:
            other = branch.to_kernel(read)
            kernel = kernel.add(other.embed(self.kernel_size))
        return kernel

    def apply(self, window, grid, training):
        first, *rest = [
            branch.apply(window, grid, training) for branch in self.branches()
        ]
        for other in rest:
            first = first.add(other)
        return first

    def multiply_adds(self, pixels, samples):
        return sum(
            branch.multiply_adds(pixels, samples)
            for branch in self.branches()
        )
