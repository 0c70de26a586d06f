"""Every block under the contract tests: one line each."""

import dataclasses
from typing import Any

from keras_rep.layers import RepConv


@dataclasses.dataclass(frozen=True)
class Case:
    layer: type
    channels: int
    arguments: dict[str, Any]

    def make(self, **more):
        return self.layer(**{**self.arguments, **more})

    def __str__(self):
        options = "-".join(f"{k}={v}" for k, v in self.arguments.items())
        return f"{self.layer.__name__}-{self.channels}-{options}"


CASES = [
    Case(RepConv, 8, {"filters": 8}),
    Case(RepConv, 3, {"filters": 8, "strides": 2}),
    Case(RepConv, 8, {"filters": 16, "kernel_size": (3, 2), "groups": 4}),
    Case(RepConv, 8, {"filters": 16, "groups": 8, "padding": "centered"}),
    Case(RepConv, 8, {"filters": 8, "kernel_size": 5, "dilation_rate": 2}),
]
