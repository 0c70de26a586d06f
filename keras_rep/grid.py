"""Where a deployed convolution samples its input.

Every branch of a block samples under the centre tap of the *deployed* kernel,
with the pad that this kernel needs. So a fused kernel is exact for every input
size, stride and parity.
"""

import dataclasses

from keras_rep.parts import tap_offset


def effective_size(kernel_size, dilation_rate):
    """Pixels that a dilated kernel spans, along one axis."""
    return (kernel_size - 1) * dilation_rate + 1


def same_pads(size, kernel_size, stride, dilation_rate):
    """Zeros before and after an axis under `padding="same"`.

    Args:
        size: Length of the axis, or `None`.
        kernel_size: Taps along the axis.
        stride: Step along the axis.
        dilation_rate: Distance of the taps.

    Returns:
        A tuple `(before, after)`, or `None` where it depends on the unknown
        size.
    """
    span = effective_size(kernel_size, dilation_rate)
    if size is None and stride > 1 and span > 1:
        return None
    if size is None or stride == 1:
        total = span - 1
    else:
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


@dataclasses.dataclass(frozen=True)
class Grid:
    """The positions of a deployed convolution's outputs on its input.

    Args:
        kernel_size: Taps of the deployed kernel, per axis.
        strides: Step between outputs, per axis.
        dilation_rate: Distance of the taps, per axis.
        padding: `"same"`, `"valid"` or `"centered"`.
    """

    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilation_rate: tuple[int, int] = (1, 1)
    padding: str = "valid"

    def pads(self, sizes):
        """Pixels added `(before, after)` each axis for the deployed kernel.

        Args:
            sizes: Tuple of two axis lengths, `None` where unknown.

        Returns:
            A list of two pairs, a pair being `None` where it depends on a size
            that is unknown.
        """
        if self.padding == "valid":
            return [(0, 0), (0, 0)]
        axes = zip(
            sizes,
            self.kernel_size,
            self.strides,
            self.dilation_rate,
            strict=True,
        )
        if self.padding == "same":
            return [same_pads(*axis) for axis in axes]
        return [(effective_size(k, d) // 2,) * 2 for _, k, _, d in axes]

    def output_sizes(self, sizes):
        """Output lengths per axis, `None` where unknown."""
        outputs: list[int | None] = []
        for axis, size in enumerate(sizes):
            stride = self.strides[axis]
            if size is None:
                outputs.append(None)
            elif self.padding == "same":
                outputs.append(-(-size // stride))
            else:
                span = effective_size(
                    self.kernel_size[axis], self.dilation_rate[axis]
                )
                before, after = self.pads(sizes)[axis]
                outputs.append((size + before + after - span) // stride + 1)
        return tuple(outputs)

    def margins(self, kernel_size, sizes):
        """Surroundings that a kernel needs to sample under the centre tap.

        Args:
            kernel_size: Taps of a kernel that is no larger than the deployed
                one.
            sizes: Axis lengths of its input, `None` where unknown.

        Returns:
            A list of `(before, after)`, negative where pixels are to be cut
            off, such that a valid convolution with `kernel_size` gives this
            grid's outputs; `None` where that depends on an unknown size.
        """
        pads = self.pads(sizes)
        if None in pads:
            return None
        margins = []
        for axis, first in enumerate(tap_offset(self.kernel_size, kernel_size)):
            rest = self.kernel_size[axis] - kernel_size[axis] - first
            dilation = self.dilation_rate[axis]
            before, after = pads[axis]
            margins.append((before - first * dilation, after - rest * dilation))
        return margins
