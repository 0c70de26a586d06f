"""What operations read and write, and how they join."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Channels:
    """The channels of a convolution.

    Attributes:
        inputs: Number of input channels.
        outputs: Number of output channels.
        groups: Number of channel groups.
        is_pointwise: Whether its kernel is of size 1×1.
    """

    inputs: int
    outputs: int
    groups: int
    is_pointwise: bool

    @property
    def is_depthwise(self):
        """Whether each group is one channel."""
        return self.groups == self.inputs > 1


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation, as the memory sees it.

    Attributes:
        reads: Number of elements of its inputs for one sample, or `None`
            where that is unknown.
        writes: Number of elements of its outputs, likewise.
        weights: Number of its weights.
        channels: For a convolution, its `Channels`.
        is_elementwise: Whether each output depends on one element of each
            input, and on weights.
    """

    reads: int | None
    writes: int | None
    weights: int = 0
    channels: Channels | None = None
    is_elementwise: bool = False

    @property
    def memory(self):
        """Elements read and written, or `None` where that is unknown."""
        return total([self.reads, self.writes, self.weights])


@dataclasses.dataclass(frozen=True)
class Cost:
    """The operations of a layer or model for one sample.

    Attributes:
        operations: Tuple of `Operation`.
        depth: How many of them lie on the longest path.
    """

    operations: tuple[Operation, ...] = ()
    depth: int = 0

    @property
    def memory(self):
        """Memory access: all elements that its operations read and write.

        For each operation these are its inputs, its outputs and its weights,
        in elements, for one sample. `None` where a size is unknown.
        """
        return total(operation.memory for operation in self.operations)


# Of what cannot be looked into.
UNKNOWN = Cost((Operation(None, None),), 1)


def single(*args, **kwargs):
    """The `Cost` of one `Operation` of the given attributes."""
    return Cost((Operation(*args, **kwargs),), 1)


def in_a_row(costs):
    """The `Cost` of one thing behind another."""
    costs = list(costs)
    return Cost(_all_operations(costs), sum(cost.depth for cost in costs))


def side_by_side(costs):
    """The `Cost` of several things that do not depend on each other."""
    costs = list(costs)
    depth = max((cost.depth for cost in costs), default=0)
    return Cost(_all_operations(costs), depth)


def total(counts):
    """The sum, or `None` if one of the numbers is not known."""
    counts = list(counts)
    return None if None in counts else sum(counts)


def product(*factors):
    """The product, or `None` if one of the numbers is not known."""
    return None if None in factors else math.prod(factors)


def _all_operations(costs):
    return tuple(each for cost in costs for each in cost.operations)
