"""Results of deployment as values: what happened, and how exact it is."""

import dataclasses
import io
import math

import keras
from keras import layers, ops

from keras_rep import graph
from keras_rep.affine import LINEAR, TRANSPOSED, channel_axis
from keras_rep.layers import RepLayer

# Why a layer stays where no rule has more to say.
PLAIN = "plain already"
OPAQUE = "not a layer of Keras, and nothing in it is to be deployed"


@dataclasses.dataclass(frozen=True)
class Equivalence:
    """How far the outputs of two models are apart.

    Attributes:
        max_abs_error: Largest absolute difference.
        max_rel_error: Largest difference relative to the largest absolute
            value of the same output tensor.
        tolerance: Bound on `max_rel_error`.
    """

    max_abs_error: float
    max_rel_error: float
    tolerance: float

    @property
    def passed(self):
        """Whether the relative error is within the tolerance."""
        return self.max_rel_error <= self.tolerance


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What deployment does with one layer.

    Attributes:
        path: Name of the layer, behind those of the models that hold it.
        block: Name of its class.
        becomes: Description of the plain layers that take its place.
        rule: Name of the rule that rewrote it, or `None` if it stays.
        parameters: Numbers of weights before and after.
        multiply_adds: Multiply-adds of all its calls for one sample, before
            and after; `None` where the size of the input is unknown.
        remarks: Why it stays, and what is lost on the way. A layer that stays
            has at least one.
    """

    path: str
    block: str
    becomes: str
    rule: str | None
    parameters: tuple[int, int]
    multiply_adds: tuple[int | None, int | None]
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class DeployReport:
    """What `deploy` does with a model, layer by layer.

    Attributes:
        model: Name of the model.
        layers: A `LayerReport` for each layer and operation, in the order of
            their calls.
    """

    model: str
    layers: tuple[LayerReport, ...]

    @property
    def replaced(self):
        """Paths of the layers that a rule rewrote."""
        return tuple(row.path for row in self.layers if row.rule)

    @property
    def kept(self):
        """The remarks on the layers that stay, by their paths."""
        return {row.path: row.remarks for row in self.layers if not row.rule}

    @property
    def parameters(self):
        """Numbers of weights of all layers, before and after."""
        return _totals(row.parameters for row in self.layers)

    @property
    def multiply_adds(self):
        """Multiply-adds of all layers, before and after, for one sample."""
        return _totals(row.multiply_adds for row in self.layers)

    def render(self, width=120):
        """The report as a table.

        What has no weights and stays for no particular reason is left out.

        Args:
            width: Number of characters in a line.

        Returns:
            A string of several lines.
        """
        from rich.console import Console
        from rich.table import Table

        table = Table(title=f"Deployment of '{self.model}'")
        table.add_column("layer")
        table.add_column("block")
        table.add_column("becomes")
        table.add_column("parameters", justify="right")
        table.add_column("multiply-adds", justify="right")
        table.add_column("remarks")
        for row in filter(_is_remarkable, self.layers):
            table.add_row(
                row.path,
                row.block,
                row.becomes,
                _arrow(row.parameters),
                _arrow(row.multiply_adds),
                "; ".join(row.remarks),
            )
        table.add_section()
        table.add_row(
            "total",
            "",
            "",
            _arrow(self.parameters),
            _arrow(self.multiply_adds),
            "",
        )
        page = io.StringIO()
        Console(width=width, file=page).print(table)
        return page.getvalue()

    def __str__(self):
        return self.render()


def summarize(model, outcomes):
    """Makes the report out of what became of the layers.

    Args:
        model: The original model.
        outcomes: `keras_rep.calls.Outcome` objects, in the order of the calls.
    """
    return DeployReport(model.name, tuple(map(_layer_report, outcomes)))


def _is_remarkable(row):
    return any(row.parameters) or row.rule or row.remarks != (PLAIN,)


def _layer_report(outcome):
    layer = outcome.layer
    new = list(dict.fromkeys(each for each, _ in outcome.emitted))
    return LayerReport(
        path=outcome.path,
        block=type(layer).__name__,
        becomes=" → ".join(map(_describe, new)) or _home(outcome),
        rule=outcome.rule,
        parameters=(_parameters(layer), sum(map(_parameters, new))),
        multiply_adds=(
            _total(multiply_adds(layer, x) for x in outcome.input_shapes),
            _total(multiply_adds(*pair) for pair in outcome.emitted),
        ),
        remarks=tuple(_remarks(outcome)),
    )


def has_fresh_statistics(layer):
    """Whether a layer normalizes by moving statistics that never moved."""
    if not isinstance(layer, layers.Layer):
        return False
    statistics = {"moving_mean": 0.0, "moving_variance": 1.0}
    values = [
        (ops.convert_to_numpy(v), statistics[v.name])
        for v in layer.non_trainable_variables
        if v.name in statistics
    ]
    return bool(values) and all(
        (value == initial).all() for value, initial in values
    )


def _remarks(outcome):
    """Why a layer stays, and what is lost with its training form."""
    layer = outcome.layer
    yield from outcome.reasons
    yield from outcome.remarks
    if outcome.emitted and outcome.takes_up:
        yield f"takes up {', '.join(map(repr, outcome.takes_up))}"
    elif outcome.rule is None and not outcome.reasons:
        yield PLAIN if graph.is_built_in(layer) else OPAQUE
    if has_fresh_statistics(layer):
        yield "its moving statistics were never updated"
    if outcome.rule is None or not isinstance(layer, layers.Layer):
        return
    variables = layer.trainable_variables
    for role in ("regularizer", "constraint"):
        count = sum(getattr(v, role, None) is not None for v in variables)
        if count:
            yield f"the {role} of {count} weights ends with training"
    if not layer.trainable:
        yield "frozen"


def _home(outcome):
    return f"part of '{outcome.home}'" if outcome.home else "–"


def _describe(layer):
    name = type(layer).__name__
    size = getattr(layer, "kernel_size", None)
    return f"{name} {'×'.join(map(str, size))}" if size else name


def multiply_adds(layer, input_shape):
    """Multiply-adds of a layer's convolutions and matrix products.

    Args:
        layer: A built Keras layer. Layers other than convolutions, `Dense`,
            rep layers and functional models of these count as 0.
        input_shape: Shape of its input, with the batch axis.

    Returns:
        The number for one sample, or `None` where the input size is unknown.
    """
    if isinstance(layer, RepLayer):
        return layer.multiply_adds(input_shape)
    if graph.is_functional(layer):
        return _inner_multiply_adds(layer, input_shape)
    if not isinstance(layer, LINEAR):
        return 0
    shape = layer.compute_output_shape(input_shape)
    if isinstance(layer, TRANSPOSED):
        # Every pixel of the input meets every weight.
        shape = input_shape
    positions = [n for axis, n in enumerate(shape) if axis]
    del positions[channel_axis(layer, len(shape)) - 1]
    if None in positions:
        return None
    kernels = [v for v in layer.weights if v.name.endswith("kernel")]
    weights = sum(math.prod(kernel.shape) for kernel in kernels)
    return weights * math.prod(positions)


def _inner_multiply_adds(model, input_shape):
    """Those of a model in the model, such as a gate that was deployed."""
    if len(model.inputs) > 1:
        return None
    image = keras.KerasTensor(input_shape, model.compute_dtype)
    with graph.trace(model, (image,), {}) as inside:
        return _total(
            multiply_adds(node.operation, tensor.shape)
            for node in inside.nodes
            for tensor in node.inputs[:1]
        )


def _totals(pairs):
    columns = list(zip(*pairs, strict=True)) or [(0,), (0,)]
    return tuple(map(_total, columns))


def _total(counts):
    """The sum, or `None` if one of the numbers is not known."""
    counts = list(counts)
    return None if None in counts else sum(counts)


def _parameters(operation):
    is_layer = isinstance(operation, layers.Layer)
    return operation.count_params() if is_layer else 0


def _arrow(pair):
    before, after = ("?" if n is None else f"{n:,}" for n in pair)
    return before if before == after else f"{before} → {after}"
