"""A model and its deployed form side by side, layer by layer."""

import dataclasses
from typing import Any

from keras_rep.deployment import rewrite_model, verify
from keras_rep.page.costs import cost_of, total_cost
from keras_rep.page.flow import read_model
from keras_rep.page.operations import Cost, in_a_row
from keras_rep.report import (
    DeployReport,
    Equivalence,
    LayerReport,
    summarize,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer before and after.

    Attributes:
        report: Its `LayerReport`.
        costs: Its `Cost` before and after, of all its calls.
    """

    report: LayerReport
    costs: tuple[Cost, Cost]


@dataclasses.dataclass(frozen=True)
class Side:
    """The model before deployment, or after.

    Attributes:
        flow: Its `keras_rep.page.flow.Flow`.
        cost: Its `Cost`.
        rows: For each step, the indices of the rows that it belongs to: one
            before; after, also those of what it took up.
    """

    flow: Any
    cost: Cost
    rows: list

    @property
    def layer_count(self):
        """Number of layers and operations, shared ones once."""
        return len({id(step.layer) for step in self.flow.steps})


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A model and its deployed form.

    Attributes:
        report: The `DeployReport`.
        equivalence: The `Equivalence` of both.
        rows: List of `Row`, in the order of the report.
        before: The model as a `Side`.
        after: The deployed form as a `Side`.
    """

    report: DeployReport
    equivalence: Equivalence
    rows: list
    before: Side
    after: Side


def compare(model, rules):
    """Deploys a model and compares it with the result.

    Args:
        model: A built `keras.Model`.
        rules: Rules to apply, as for `keras_rep.deploy`, or `None`.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: If the model is no Keras model, or the rules are none.
        DeployError: If the model cannot be traced.
    """
    plain, outcomes = rewrite_model(model, rules)
    report = summarize(model, outcomes)
    old = {id(outcome.layer): (i,) for i, outcome in enumerate(outcomes)}
    new = _rows_by_layer(outcomes)
    before, costs_before = _side(model, old)
    after, costs_after = _side(plain, new)
    rows = [
        Row(each, (costs_before.get(i, Cost()), costs_after.get(i, Cost())))
        for i, each in enumerate(report.layers)
    ]
    return Comparison(report, verify(model, plain), rows, before, after)


def _rows_by_layer(outcomes):
    """The rows that each new layer belongs to, its own one in front."""
    indices = {outcome.path: i for i, outcome in enumerate(outcomes)}
    taken_up: dict[int, list[int]] = {}
    for index, outcome in enumerate(outcomes):
        home = outcome
        for _ in outcomes:
            if home.home not in indices:
                break
            home = outcomes[indices[home.home]]
        if home is not outcome:
            taken_up.setdefault(indices[home.path], []).append(index)
    return {
        id(layer): (index, *taken_up.get(index, ()))
        for index, outcome in enumerate(outcomes)
        for layer, _ in outcome.emitted
    }


def _side(model, rows_by_layer):
    """The `Side` of a model, and the costs of its rows by their indices."""
    flow = read_model(model, lambda layer: id(layer) in rows_by_layer)
    rows = [rows_by_layer.get(id(step.layer), ()) for step in flow.steps]
    costs = list(map(cost_of, flow.steps))
    by_row: dict[int, list[Cost]] = {}
    for indices, cost in zip(rows, costs, strict=True):
        for index in indices[:1]:
            by_row.setdefault(index, []).append(cost)
    side = Side(flow, total_cost(flow, costs), rows)
    return side, {i: in_a_row(found) for i, found in by_row.items()}
