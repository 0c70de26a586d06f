"""Where an integer file rounds: the tensors of a model that need a range.

A site is a group of tensors that must share one scale, because an operation
of TFLite between them moves integers without computing.
"""

import collections
import dataclasses
import math
import re

from keras import activations, layers, tree

from keras_rep import graph
from keras_rep.affine import LINEAR, ZERO_PADDING
from keras_rep.calls import OUTPUT, Tensor
from keras_rep.functions import activation_function
from keras_rep.quantize.channel_cap import ChannelCap
from keras_rep.quantize.preparing import RECTIFIERS, is_float
from keras_rep.quantize.scales import Scale
from keras_rep.value_range import value_range

# The outputs of these have the scale of their inputs in TFLite.
MOVING = (
    *ZERO_PADDING,
    layers.AlphaDropout,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.Concatenate,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.Dropout,
    layers.Flatten,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.Identity,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.Maximum,
    layers.Minimum,
    layers.Permute,
    layers.RepeatVector,
    layers.Reshape,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.UpSampling1D,
    layers.UpSampling2D,
)
GLOBAL_MEANS = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
)
# Of the moving ones, those that compute means.
MEANS = (layers.AveragePooling1D, layers.AveragePooling2D)
MOVING_OPERATIONS = (
    "Concatenate",
    "ExpandDims",
    "GetItem",
    "Max",
    "Maximum",
    "Minimum",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
)
# TFLite prescribes the scales of what these return: 1/256 and 1/128.
FIXED = {
    activations.sigmoid: (0.0, 255 / 256),
    activations.softmax: (0.0, 255 / 256),
    activations.tanh: (-1.0, 127 / 128),
}
# Operations that can end in a rectifier, beside convolutions.
RECTIFIED = (layers.Add, layers.Subtract, layers.Multiply)
RECTIFIED_OPERATIONS = ("Add", "Subtract", "Multiply")


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """Tensors that share one range.

    Attributes:
        name: Name of the layer that returns the first of them, or of the
            input; with `:1` behind for the second call of a layer.
        tensors: The `Tensor` objects.
        fixed: The range that TFLite prescribes, or `None`.
        bounds: A range that no value can leave.
        is_output: Whether a user sees its values, or what softmax or sigmoid
            make of them.
    """

    name: str
    tensors: tuple[Tensor, ...]
    fixed: tuple[float, float] | None
    bounds: tuple[float, float]
    is_output: bool


def find_sites(program):
    """The sites of a prepared model.

    Args:
        program: Its `keras_rep.program.Program`.

    Returns:
        Dictionary from names to `Site`, in the order of the program. Tensors
        between an operation and the rectifier that it ends in are in none.
    """
    tensors = list(filter(_is_rounded, all_tensors(program)))
    groups = {tensor: [tensor] for tensor in tensors}
    for call in program.calls():
        if not moves(call):
            continue
        ends = [x for x in (*call.inputs, *call.outputs) if x in groups]
        if len(set(map(fixed_range, ends))) > 1:
            # What has a scale of its own is rounded anew.
            ends = [x for x in ends if fixed_range(x) is None]
        for tensor in ends[1:]:
            first, second = groups[ends[0]], groups[tensor]
            if first is not second:
                first += second
                groups |= dict.fromkeys(second, first)
    order = {tensor: index for index, tensor in enumerate(tensors)}
    names = _names(program)
    sites = {}
    for tensor in tensors:
        group = groups[tensor]
        if tensor is min(group, key=order.__getitem__):
            sites[names[tensor]] = Site(
                names[tensor],
                tuple(group),
                fixed_range(tensor),
                _bounds(group),
                any(map(_is_output, group)),
            )
    return sites


def scales_of(program, ranges):
    """The scale of each tensor that is rounded to 8 bits.

    Args:
        program: The program of a prepared model.
        ranges: Dictionary from the names of sites to ranges.

    Returns:
        Dictionary from tensors to `Scale`.
    """
    return {
        tensor: Scale.of(*(site.fixed or ranges[site.name]))
        for site in find_sites(program).values()
        if site.fixed or site.name in ranges
        for tensor in site.tensors
    }


def all_tensors(program):
    """The inputs of a program, then what its calls return, in their order."""
    inputs = tree.flatten(program.inputs)
    return [*inputs, *(x for call in program.calls() for x in call.outputs)]


def moves(call):
    """Whether a call returns some of its integers as they are."""
    name = graph.operation_name(call.layer)
    if type(call.layer) in GLOBAL_MEANS:
        # The converter leaves out the mean of one pixel, and would forget to
        # change the scale.
        sizes = call.inputs[0].shape[1:], call.output.shape[1:]
        return None not in sizes[0] and math.prod(sizes[0]) == math.prod(
            sizes[1]
        )
    return type(call.layer) in MOVING or name in MOVING_OPERATIONS


def keeps_integers(tensor):
    """Whether a tensor is made of integers of another one of its site."""
    call = tensor.producer
    if call is None or not moves(call):
        return False
    is_mean = isinstance(call.layer, MEANS)
    is_smooth = getattr(call.layer, "interpolation", "nearest") != "nearest"
    return not is_mean and not is_smooth


def fixed_range(tensor):
    """The range that TFLite prescribes for a tensor, or `None`."""
    call = tensor.producer
    if call is None:
        return None
    if moves(call):
        ranges = set(map(fixed_range, call.inputs))
        return ranges.pop() if len(ranges) == 1 else None
    return FIXED.get(activation_function(call))


def ends_in_rectifier(tensor):
    """Whether a file computes a tensor and its rectifier in one operation."""
    call = tensor.producer
    if call is None or len(tensor.users) != 1 or tensor.users == [OUTPUT]:
        return False
    (user,) = tensor.users
    if type(user.layer) is ChannelCap:
        return type(call.layer) in LINEAR
    function = activation_function(user)
    if function not in RECTIFIERS:
        return False
    if type(call.layer) in LINEAR:
        return call.layer.activation is activations.linear
    name = graph.operation_name(call.layer)
    return type(call.layer) in RECTIFIED or name in RECTIFIED_OPERATIONS


def scopes_of(program):
    """The scope of each call in the names of a file's tensors.

    Args:
        program: The program of a prepared model.

    Returns:
        Dictionary from calls to strings such as `"conv.0"`, the name of the
        layer and the number of the call, in letters that TensorFlow allows.
    """
    scopes = {}
    counts: collections.Counter[str] = collections.Counter()
    for call in program.calls():
        name = re.sub(r"[^A-Za-z0-9_>-]", "-", call.layer.name)
        # Its converter dies of an underscore at the front.
        name = name if name[0].isalnum() else f"layer{name}"
        scopes[call] = f"{name}.{counts[name]}"
        counts[name] += 1
    return scopes


def _is_rounded(tensor):
    return is_float(tensor.spec) and not ends_in_rectifier(tensor)


def _is_output(tensor):
    """Whether a user sees a tensor, maybe through softmax or sigmoid."""
    return _is_seen(tensor) or any(
        activation_function(user) in (activations.sigmoid, activations.softmax)
        and _is_seen(user.output)
        for user in tensor.users
        if user is not OUTPUT
    )


def _is_seen(tensor):
    return OUTPUT in tensor.users or any(
        moves(user) and any(map(_is_seen, user.outputs))
        for user in tensor.users
        if user is not OUTPUT
    )


def _bounds(tensors):
    """What no value of any of the tensors can leave."""
    lows, highs = zip(*map(value_range, tensors), strict=True)
    return min(lows), max(highs)


def _names(program):
    inputs = zip(
        tree.flatten(program.inputs), program.input_layers, strict=True
    )
    names = {tensor: layer.name for tensor, layer in inputs}
    taken = set(names.values())
    for call in program.calls():
        for tensor in call.outputs:
            name, number = call.layer.name, 0
            while name in taken:
                number += 1
                name = f"{call.layer.name}:{number}"
            taken.add(name)
            names[tensor] = name
    return names
