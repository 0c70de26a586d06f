"""Every block under the contract tests: one line each."""

import dataclasses
from typing import Any

from keras_rep.layers import (
    ACBConv,
    DBBConv,
    DiracConv,
    MobileOneConv,
    OREPAConv,
    OREPAStemConv,
    OREPAVGGConv,
    QARepConv,
    RepConv,
    RMBlock,
    RMBottleneck,
    RMInvertedResidual,
    TermLayer,
)


@dataclasses.dataclass(frozen=True)
class Case:
    layer: type
    channels: int
    arguments: dict[str, Any]
    # Ends of the paths of weights that have no gradient by design.
    idle: tuple[str, ...] = ()

    def make(self, **more):
        return self.layer(**{**self.arguments, **more})

    def __str__(self):
        options = "-".join(f"{k}={v}" for k, v in self.arguments.items())
        return f"{self.layer.__name__}-{self.channels}-{options}"


# The normalization behind the sum takes every constant out again.
INNER_BETA = ("kxk/norm/beta",)

CASES = [
    Case(RepConv, 8, {"filters": 8}),
    Case(RepConv, 3, {"filters": 8, "strides": 2}),
    Case(RepConv, 8, {"filters": 16, "kernel_size": (3, 2), "groups": 4}),
    Case(RepConv, 8, {"filters": 16, "groups": 8, "padding": "centered"}),
    Case(RepConv, 8, {"filters": 8, "kernel_size": 5, "dilation_rate": 2}),
    Case(RepConv, 8, {"filters": 8, "reserve_ratio": 0.5}),
    Case(RepConv, 8, {"filters": 6, "se_ratio": 0.5, "strides": 2}),
    Case(RepConv, 8, {"filters": 8, "se_ratio": 0.25, "reserve_ratio": 0.25}),
    Case(
        MobileOneConv,
        8,
        {"filters": 8, "se_ratio": 0.5, "se_position": "after_activation"},
    ),
    Case(ACBConv, 6, {"filters": 8, "kernel_size": (3, 5), "strides": 2}),
    Case(ACBConv, 8, {"filters": 8, "groups": 8, "kernel_size": 4}),
    Case(DBBConv, 8, {"filters": 8}),
    Case(DBBConv, 6, {"filters": 8, "strides": 2, "kernel_size": (4, 3)}),
    Case(DBBConv, 8, {"filters": 8, "groups": 8, "dilation_rate": 2}),
    Case(DBBConv, 8, {"filters": 16, "groups": 4, "padding": "centered"}),
    Case(MobileOneConv, 8, {"filters": 8, "groups": 8}),
    Case(MobileOneConv, 8, {"filters": 8, "kernel_size": 1}),
    Case(MobileOneConv, 8, {"filters": 16, "groups": 4, "strides": 2}),
    Case(
        QARepConv, 8, {"filters": 8, "groups": 2, "average": True}, INNER_BETA
    ),
    Case(QARepConv, 8, {"filters": 6, "strides": 2}, INNER_BETA),
    Case(DiracConv, 8, {"filters": 12, "groups": 4, "strides": 2}),
    Case(DiracConv, 8, {"filters": 6, "kernel_size": (2, 3)}),
    Case(OREPAConv, 8, {"filters": 6}),
    Case(OREPAConv, 8, {"filters": 8, "groups": 8, "kernel_size": 5}),
    Case(OREPAConv, 8, {"filters": 6, "kernel_size": 1, "strides": 2}),
    Case(OREPAConv, 6, {"filters": 8, "scaling": "scalar", "groups": 2}),
    Case(OREPAConv, 6, {"filters": 8, "scaling": "none", "post_norm": False}),
    Case(OREPAStemConv, 3, {"filters": 8, "strides": 2}),
    Case(OREPAVGGConv, 8, {"filters": 8, "kernel_size": 5, "groups": 2}),
    Case(RMBlock, 8, {"filters": 8}),
    Case(RMBlock, 6, {"filters": 8, "strides": 2, "groups": 2}),
    Case(RMBottleneck, 8, {"filters": 16, "groups": 2}),
    Case(RMBottleneck, 8, {"filters": 8, "strides": 2, "padding": "centered"}),
    Case(RMBottleneck, 8, {"filters": 8, "hidden": 20, "groups": 5}),
    Case(RMInvertedResidual, 8, {"filters": 8, "expansion": 2}),
    Case(RMInvertedResidual, 6, {"filters": 8, "strides": 2, "expansion": 1}),
]

# The first case of every layer.
ONE_EACH = list({case.layer: case for case in reversed(CASES)}.values())

# The blocks that are one linear term.
TERM_CASES = [case for case in CASES if issubclass(case.layer, TermLayer)]
