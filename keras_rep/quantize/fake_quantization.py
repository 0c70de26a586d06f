"""From a model and ranges to one that rounds as an integer file does."""

import dataclasses

from keras_rep import graph
from keras_rep.calls import OUTPUT
from keras_rep.cloning import config_of, copy_operation
from keras_rep.program import Program
from keras_rep.quantize.checks import check_choice, check_names, check_ranges
from keras_rep.quantize.fake_quantize_layer import FakeQuantize
from keras_rep.quantize.preparing import prepare
from keras_rep.quantize.rebuilding import rebuild
from keras_rep.quantize.rounded_layers import PLAIN, ROUNDED
from keras_rep.quantize.sites import find_sites, keeps_integers

WEIGHTS = ("per_channel", "per_tensor")
# Behind the name of a layer whose rounded outputs are those of the model.
BEFORE_ROUNDING = "_before_rounding"


def fake_quantize(
    model, ranges, *, weights="per_channel", bits=8, learned=False, skip=()
):
    """Makes a model that rounds as an integer file does, and can be trained.

    Quantization-aware training is `compile` and `fit` on the result, on any
    backend; `keras_rep.export_tflite` writes a file with its ranges. Batch
    normalizations are folded before: what is trained is what is deployed.

    Args:
        model: A built `keras.Model`. It is not changed.
        ranges: Dictionary from names to ranges, as `calibrate` returns it.
        weights: `"per_channel"`, or `"per_tensor"` for one scale for each
            kernel.
        bits: Size of the integers between layers: 8, or 16, as in files of
            `quantization="int16x8"`.
        learned: Whether ranges are trained, too.
        skip: Names of layers that stay as they are: their weights and what
            they return are real numbers.

    Returns:
        A new functional model with the same layer names. It is not compiled.

    Raises:
        ValueError: If an argument does not fit.
        DeployError: If the model cannot be deployed.

    Example:
    ```python
    ranges = keras_rep.quantize.calibrate(model, x_train[:200])
    rounded = keras_rep.quantize.fake_quantize(model, ranges)
    rounded.compile(keras.optimizers.Adam(1e-4), loss)
    rounded.fit(x_train, y_train, epochs=1)
    keras_rep.export_tflite(rounded, "model.tflite", quantization="int8")
    ```
    """
    check_choice("weights", weights, WEIGHTS)
    check_choice("bits", bits, (8, 16))
    prepared = prepare(model)
    program = Program(prepared)
    sites = find_sites(program)
    skip = frozenset(skip)
    check_names("skip", skip, {layer.name for layer in prepared.layers})
    skipped = {
        name
        for name, site in sites.items()
        if skip & set(map(_maker, site.tensors))
    }
    check_ranges(ranges, sites, skipped)
    per_tensor = weights == "per_tensor"
    roundings: dict = {}
    for name, site in sites.items():
        if name not in skipped:
            layer = _rounding(site, ranges, bits, learned)
            moved = filter(keeps_integers, site.tensors)
            computed = set(site.tensors) - set(moved)
            roundings |= dict.fromkeys(computed, layer)
    # What rounds an output has its name; the layer in front, another one.
    ends = {}
    for tensor, layer in roundings.items():
        if OUTPUT in tensor.users and tensor.producer.is_only_call:
            layer.name = tensor.producer.layer.name
            ends[layer.name] = layer.name + BEFORE_ROUNDING

    def copy(layer):
        rounded = ROUNDED.get(type(layer))
        if rounded is None or layer.name in skip:
            new = copy_operation(layer)
        else:
            new = rounded(**config_of(layer), per_tensor=per_tensor)
        new.name = ends.get(layer.name, layer.name)
        return new

    return rebuild(program, copy, roundings)


def _maker(tensor):
    return tensor.producer and tensor.producer.layer.name


def _rounding(site, ranges, bits, learned):
    low, high = site.fixed or ranges[site.name]
    name = f"{site.name.replace(':', '_')}_range"
    learned = learned and not site.fixed
    return FakeQuantize(low, high, bits, learned, site.name, name=name)


@dataclasses.dataclass(frozen=True)
class Form:
    """What an integer file is made from.

    Attributes:
        model: A prepared model.
        ranges: Dictionary from the names of sites to ranges.
        per_tensor: Whether each kernel has one scale.
        float_layers: Names of layers whose weights stay real numbers.
    """

    model: object
    ranges: dict
    per_tensor: bool = False
    float_layers: tuple = ()


def is_fake_quantized(model):
    """Whether a model is one that `fake_quantize` returned, or holds one."""
    return graph.contains(model, FakeQuantize)


def rounded_bits(model):
    """Size of the integers of a model of `fake_quantize`, or `None`."""
    sizes = (
        layer.bits
        for layer in graph.sublayers(model)
        if isinstance(layer, FakeQuantize)
    )
    return next(sizes, None)


def read_form(model):
    """The `Form` of a model of `fake_quantize`, as it is trained by now.

    Args:
        model: The model.
    """
    ranges, rounded = {}, {}
    for layer in graph.sublayers(model):
        if isinstance(layer, FakeQuantize):
            ranges[layer.site] = layer.range
        elif type(layer) in PLAIN:
            name = layer.name.removesuffix(BEFORE_ROUNDING)
            rounded[name] = layer.per_tensor

    def copy(layer):
        if isinstance(layer, FakeQuantize):
            return lambda x: x
        plain = PLAIN.get(type(layer))
        if plain is None:
            new = copy_operation(layer)
        else:
            config = config_of(layer)
            del config["per_tensor"]
            new = plain(**config)
        new.name = layer.name.removesuffix(BEFORE_ROUNDING)
        return new

    prepared = prepare(rebuild(Program(model), copy))
    others = tuple(
        layer.name
        for layer in prepared.layers
        if type(layer) in ROUNDED and layer.name not in rounded
    )
    sites = find_sites(Program(prepared))
    ranges = {
        name: ranges[name]
        for name, site in sites.items()
        if name in ranges and not site.fixed
    }
    return Form(prepared, ranges, any(rounded.values()), others)
