"""Images without a border, as terms read them.

"Pad once" is the meaning, not a tensor: the pad is the one that the deployed
kernel needs, and a smaller kernel reads a part of it (`grid.py`). A `Window`
is an image together with its unlimited constant surroundings, so nothing is
ever padded with anything but zero.
"""

import typing
from typing import Any

from keras import ops

from keras_rep import backend
from keras_rep.grid import same_pads
from keras_rep.kernel import Kernel


class Window(typing.NamedTuple):
    """An image in unlimited surroundings: `signal + margin`, `margin` outside.

    The signal is zero outside the image, so that a linear term acts on it as
    an ordinary zero-padded convolution, and on the margin as on a constant
    image. Nothing is ever padded with the margin.

    Args:
        signal: Image tensor in `data_format`.
        margin: Tensor of shape `(channels,)`, or `None` for zero.
        data_format: `"channels_last"` or `"channels_first"`.
        sampled: Whether a grid has sampled the window. Then nothing lies
            outside, and the margin is only a constant still to be added.
    """

    signal: Any
    margin: Any
    data_format: str
    sampled: bool = False

    @property
    def sizes(self):
        """Lengths of the two image axes, `None` where unknown."""
        shape = tuple(self.signal.shape)
        return shape[1:3] if self.data_format == "channels_last" else shape[2:]

    def values(self):
        """The image itself, in the dtype of the signal."""
        if self.margin is None:
            return self.signal
        return backend.shift(self.signal, self.margin, self.data_format)

    def sample(self, grid):
        """The pixels under the centre tap of every output of `grid`."""
        if self.sampled:
            raise ValueError(
                "Cannot sample a window twice. Expected one spatial term in a "
                "chain, the others being 1×1. Compose the kernels instead."
            )
        margins = grid.margins((1, 1), self.sizes)
        if margins is None:
            channels = self.signal.shape[backend.channel_axis(self.data_format)]
            gain = ops.ones((channels,), dtype=self.signal.dtype)
            signal = correlate(self, Kernel.diagonal(gain, None), grid)
        else:
            signal = _crop(self, margins, grid.strides).signal
        return self._replace(signal=signal, sampled=True)

    def add(self, other):
        """The sum of two windows that were sampled alike."""
        if self.margin is None or other.margin is None:
            margin = other.margin if self.margin is None else self.margin
        else:
            margin = ops.add(self.margin, other.margin)
        return self._replace(
            signal=ops.add(self.signal, other.signal), margin=margin
        )

    def average(self, kernel_size, grid):
        """The window behind an average pooling that counts the padding.

        Args:
            kernel_size: Tuple of two integers.
            grid: `Grid` to sample.
        """
        margins = grid.margins(kernel_size, self.sizes)
        if margins is None or self.sampled:
            channels = self.signal.shape[backend.channel_axis(self.data_format)]
            ones = ops.ones((channels,), dtype=self.signal.dtype)
            kernel = Kernel.average(ones, None, kernel_size)
            signal = correlate(self, kernel, grid)
        else:
            signal = backend.average(
                _crop(self, margins).signal,
                kernel_size,
                grid.strides,
                grid.dilation_rate,
                self.data_format,
            )
        return self._replace(signal=signal, sampled=True)

    def concat(self, other):
        """Two windows that were sampled alike, channel behind channel."""
        axis = backend.channel_axis(self.data_format)
        pair = (self.signal, other.signal)
        signal = ops.concatenate(pair, axis)
        if self.margin is None and other.margin is None:
            return self._replace(signal=signal)
        margins = [
            ops.zeros((each.signal.shape[axis],), dtype=each.signal.dtype)
            if each.margin is None
            else each.margin
            for each in (self, other)
        ]
        return self._replace(signal=signal, margin=ops.concatenate(margins))

    def select(self, start, stop):
        """The channels from `start` to before `stop`."""
        channels = slice(start, stop)
        first = self.data_format == "channels_first"
        signal = (
            self.signal[:, channels] if first else self.signal[..., channels]
        )
        margin = None if self.margin is None else self.margin[channels]
        return self._replace(signal=signal, margin=margin)

    def add_slices(self, count, groups):
        """The sum of `count` slices of the channels, within each group."""
        axis = backend.channel_axis(self.data_format) % 4
        shape = list(ops.shape(self.signal))
        filters = self.signal.shape[axis] // count
        split = [groups, count, filters // groups]
        signal = ops.reshape(
            self.signal, (*shape[:axis], *split, *shape[axis + 1 :])
        )
        shape[axis] = filters
        signal = ops.reshape(ops.sum(signal, axis=axis + 1), shape)
        margin = self.margin
        if margin is not None:
            margin = ops.sum(ops.reshape(margin, split), axis=1)
            margin = ops.reshape(margin, (filters,))
        return self._replace(signal=signal, margin=margin)

    def pad(self, kernel_size, grid):
        """All pixels that a kernel reads on `grid`, the margin filled in."""
        margins = grid.margins(kernel_size, self.sizes)
        if margins is None:
            raise ValueError(
                f"Cannot pad an image of size {self.sizes} for strides="
                f"{grid.strides} before its size is known. Expected a known "
                "size, or a term with `to_kernel`. Override `to_kernel(self, "
                "read)`, or fix the input's height and width."
            )
        padded = _crop(self, margins)
        return padded._replace(signal=padded.values(), margin=None)

    def stride(self, strides):
        """Every n-th pixel, as a sampled window."""
        window = _crop(self, [(0, 0), (0, 0)], strides)
        return window._replace(sampled=True)

    def convolve(self, kernel, grid=None):
        """The window behind a convolution.

        Args:
            kernel: `Kernel` of backend tensors; its bias may be `None`.
            grid: Where to sample, or `None` for a 1×1 kernel that keeps every
                pixel.
        """
        signal = correlate(self, kernel, grid)
        margin = kernel.bias
        if self.margin is not None:
            response = kernel.respond(self.margin)
            margin = response if margin is None else ops.add(response, margin)
        return self._replace(
            signal=signal,
            margin=margin,
            sampled=self.sampled or grid is not None,
        )


def correlate(window, kernel, grid):
    """Convolves a window's signal, which is zero outside, with a kernel.

    Args:
        window: `Window`; its margin does not matter here.
        kernel: `Kernel`; its bias does not matter here.
        grid: `Grid` to sample, or `None` for a 1×1 kernel at every pixel.

    Returns:
        An image tensor.
    """

    def convolve(window, kernel, padding):
        return backend.convolve(
            window.signal,
            ops.cast(kernel.kernel, window.signal.dtype),
            grid.strides,
            padding,
            grid.dilation_rate,
            window.data_format,
        )

    def convolve_pointwise(window):
        return backend.convolve_pointwise(
            window.signal,
            ops.cast(kernel.kernel, window.signal.dtype),
            window.data_format,
        )

    is_pointwise = kernel.kernel_size == (1, 1)
    if grid is None or window.sampled:
        if is_pointwise:
            return convolve_pointwise(window)
        raise ValueError(
            f"Cannot convolve with a kernel of size {kernel.kernel_size} "
            "before or after the sampling term of a chain. Expected one "
            "spatial term in a chain, the others being 1×1. Compose the "
            "kernels instead."
        )
    margins = grid.margins(kernel.kernel_size, window.sizes)
    if margins is None:
        # The stride and an unknown size decide under which tap the kernel
        # lies: only the full kernel is under all of them.
        return convolve(window, kernel.embed(grid.kernel_size), "same")
    if is_pointwise:
        # Slicing first also avoids the gradient of a strided 1×1 convolution,
        # which crashes TensorFlow 2.21's CPU build on larger images.
        return convolve_pointwise(_crop(window, margins, grid.strides))
    window = _crop(window, [(min(a, 0), min(b, 0)) for a, b in margins])
    pads = [(max(a, 0), max(b, 0)) for a, b in margins]
    native = [
        same_pads(*axis)
        for axis in zip(
            window.sizes,
            kernel.kernel_size,
            grid.strides,
            grid.dilation_rate,
            strict=True,
        )
    ]
    if pads == native:
        return convolve(window, kernel, "same")
    if any(map(any, pads)):
        window = _crop(window, pads)
    return convolve(window, kernel, "valid")


def _crop(window, margins, strides=(1, 1)):
    """Cuts off or zero-pads a signal's edges, then takes every n-th pixel."""
    axis = 1 if window.data_format == "channels_last" else 2
    signal = window.signal
    pads = [(max(a, 0), max(b, 0)) for a, b in margins]
    if any(map(any, pads)):
        widths = [(0, 0)] * 4
        widths[axis : axis + 2] = pads
        signal = ops.pad(signal, widths)
    cut = [slice(None)] * 4
    cut[axis : axis + 2] = [
        slice(max(-a, 0), min(b, 0) or None, stride)
        for (a, b), stride in zip(margins, strides, strict=True)
    ]
    if any(part != slice(0, None, 1) for part in cut[axis : axis + 2]):
        signal = signal[tuple(cut)]
    return window._replace(signal=signal)
