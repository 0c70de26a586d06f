"""The base of all terms, and how their variables are read."""

import math

import keras
import numpy as np
from keras import ops

from keras_rep import backend
from keras_rep.errors import Skip
from keras_rep.grid import Grid
from keras_rep.kernel import Kernel
from keras_rep.window import Window


def read_numpy(value):
    """Reads a variable or array for deployment, as exact numpy.

    Float32 stays what it is, without a copy where the backend allows it: the
    algebra of `keras_rep.kernel` computes in float64 all the same.
    """
    if not isinstance(value, np.ndarray):
        value = ops.convert_to_numpy(ops.convert_to_tensor(value))
    is_exact = value.dtype in (np.float32, np.float64)
    return value if is_exact else value.astype("float64")


def assign_rounded(variable, value):
    """Assigns float64 numpy to a variable, rounded once.

    Args:
        variable: The variable.
        value: Array of a shape that broadcasts to that of the variable.
    """
    dtype = variable.dtype
    value = np.broadcast_to(value, tuple(variable.shape))
    if dtype in ("float32", "float64"):
        # Rounded by numpy, the same way for every backend; always a copy.
        value = value.astype(dtype)
    variable.assign(ops.convert_to_tensor(value, dtype=dtype))


class Term(keras.layers.Layer):
    """A linear map of images. See the module's docstring for its law.

    Attributes:
        kernel_size: Taps of the term's kernel, per axis.
        channels: Number of input channels, known once built.
        filters: Number of output channels, known once built.
        groups: Number of channel groups, known once built.
    """

    kernel_size = (1, 1)

    def build(self, input_shape):
        """Creates the term's weights.

        Args:
            input_shape: Shape of a channels-last image, whatever the data
                format of the layer that holds the term.
        """
        self.channels = self.filters = self.groups = input_shape[-1]

    def read_tensor(self, value):
        """Reads a variable or array for a computation on the backend.

        Kernels are added up in single precision at least, whatever the policy.
        """
        if isinstance(value, np.ndarray):
            is_double = self.compute_dtype == "float64"
            dtype = "float64" if is_double else "float32"
            return ops.convert_to_tensor(value, dtype)
        return backend.at_least_single(ops.convert_to_tensor(value))

    def to_kernel(self, read=read_numpy):
        """The term as one kernel; normalizations by their moving statistics.

        Without an override it is the term's impulse response.

        Args:
            read: Function that turns a variable or a numpy array into an
                operand: `read_numpy` or the method `read_tensor`.

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
        return Kernel.of(read(response.kernel), read(response.bias))

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
            return window.convolve(self.to_kernel(self.read_tensor), grid)
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

    def apply_kernel(self, window, grid):
        """Applies the term by its kernel, in the compute dtype."""
        signal = ops.cast(window.signal, self.compute_dtype)
        window = window._replace(signal=signal)
        return window.convolve(self.to_kernel(self.read_tensor), grid)

    @property
    def trains_as_kernel(self):
        """Whether `to_kernel(self.read_tensor)` holds in training, too.

        It does not for normalizations, nor for a term whose kernel is its
        impulse response, which passes no gradient.
        """
        return type(self).to_kernel is not Term.to_kernel

    @property
    def has_batch_kernel(self):
        """Whether `batch_kernel` can stand for `apply` in training."""
        return self.trains_as_kernel and self.kernel_size == (1, 1)

    def batch_kernel(self, moments):
        """The term as a kernel for one batch, which its norms then track.

        Terms that have it are merged with other 1×1 terms.

        Args:
            moments: `Moments` of the term's input.

        Returns:
            A `Kernel` of backend tensors, normalizing by the batch.
        """
        return self.to_kernel(self.read_tensor)

    @property
    def takes_any_kernel(self):
        """Whether `become` can set any kernel of the term's size and groups."""
        return False

    def become(self, target):
        """Sets the variables so that the term computes a target.

        The term is equal to it in inference mode; also in training where each
        normalization stands where the target has one.

        Args:
            target: The `keras_rep.terms.target.Target`. Its kernel is no
                larger than the term's.

        Raises:
            Skip: If the term has no place for a part of it.
        """
        raise Skip(f"its block has a '{type(self).__name__}' of fixed values")

    def pass_back(self, target, front):
        """Sets the variables so that a chain that ends here gives a target.

        Args:
            target: The `Target` of the chain up to this term.
            front: List of the terms in front.

        Returns:
            The `Target` that the terms in front have to compute.

        Raises:
            Skip: If the term has no place for a part of it.
        """
        raise Skip(f"its block has a '{type(self).__name__}' behind others")

    @property
    def passes_back(self):
        """Whether the term has a `pass_back`."""
        return type(self).pass_back is not Term.pass_back

    def silence(self):
        """Sets the variables so that the output is zero, in training as well.

        Returns:
            Whether the term can. If not, it may have changed.
        """
        return False

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
    response = read_numpy(term(patches, training=False))[:, 0, 0]
    response = response.astype("float64")
    bias = response[-1]
    kernel = (response[:-1] - bias) / amplitude
    return Kernel.of(kernel.reshape(*size, -1), bias)
