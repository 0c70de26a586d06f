"""The four practical guidelines of ShuffleNetV2, as figures of a model."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Guidelines:
    """Figures behind the guidelines of Ma et al. 2018, arXiv 1807.11164.

    Attributes:
        pointwise: G1: number of 1×1 convolutions.
        equal: Number of those with as many output channels as input channels.
        ratio: The largest ratio of the two numbers; `None` if there is no
            such convolution.
        excess: By which share those that keep the image size access more
            memory than they would for the same multiply-adds with equal
            numbers of channels; `None` where a size is unknown.
        grouped: G2: number of convolutions with several groups of several
            channels.
        depthwise: Number of convolutions with one channel in each group.
        groups: Largest number of groups of a convolution; 0 if there is no
            convolution.
        operations: G3: number of operations.
        depth: How many of them lie on the longest path.
        elementwise: G4: number of element-wise operations.
        share: Their share of the memory access; `None` if unknown.
    """

    pointwise: int
    equal: int
    ratio: float | None
    excess: float | None
    grouped: int
    depthwise: int
    groups: int
    operations: int
    depth: int
    elementwise: int
    share: float | None

    @property
    def fragmentation(self):
        """Operations for each step of the longest path: parallel branches."""
        return self.operations / self.depth if self.depth else 0.0


def measure(cost):
    """Measures the guidelines.

    Args:
        cost: The `keras_rep.page.operations.Cost` of a layer or model.

    Returns:
        A `Guidelines`.
    """
    convolutions = [x for x in cost.operations if x.channels is not None]
    pointwise = [
        x
        for x in convolutions
        if x.channels.is_pointwise and not x.channels.is_depthwise
    ]
    depthwise = [x for x in convolutions if x.channels.is_depthwise]
    groups = [x.channels.groups for x in convolutions]
    elementwise = [x for x in cost.operations if x.is_elementwise]
    ratios = [_ratio(x.channels) for x in pointwise]
    return Guidelines(
        pointwise=len(pointwise),
        equal=sum(ratio == 1 for ratio in ratios),
        ratio=max(ratios, default=None),
        excess=_excess(pointwise),
        grouped=sum(n > 1 for n in groups) - len(depthwise),
        depthwise=len(depthwise),
        groups=max(groups, default=0),
        operations=len(cost.operations),
        depth=cost.depth,
        elementwise=len(elementwise),
        share=_share(elementwise, cost),
    )


def _ratio(channels):
    pair = channels.inputs, channels.outputs
    return max(pair) / min(pair)


def _excess(pointwise):
    """How far memory access is above its bound, 2·hw·√(c₁c₂) + c₁c₂."""
    received, least = 0.0, 0.0
    for operation in pointwise:
        if operation.memory is None:
            return None
        channels = operation.channels
        positions = operation.reads // channels.inputs
        if positions != operation.writes // channels.outputs:
            continue
        mean = math.sqrt(channels.inputs * channels.outputs)
        received += operation.memory
        least += 2 * positions * mean + operation.weights
    return received / least - 1 if least else 0.0


def _share(elementwise, cost):
    if cost.memory is None:
        return None
    memory = sum(x.memory for x in elementwise)
    return memory / cost.memory if cost.memory else 0.0
