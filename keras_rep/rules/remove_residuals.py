import math

from keras_rep.errors import Skip
from keras_rep.layers.base import UNLIMITED
from keras_rep.residuals import read_residual
from keras_rep.value_range import value_range
from keras_rep.widening import (
    cost_of_block,
    cost_of_row,
    describe_activations,
    widen,
)


def remove_residuals(call, max_growth=math.inf):
    """`row of convolutions(x) + x` → a row of wider convolutions.

    The operation of RMNet (arXiv 2111.00687). The first convolution passes x
    on in channels of its own, the activations leave those alone, and the last
    convolution adds them. A projection of x goes into the last convolution.
    `max_growth` says how many times the multiply-adds, and the parameters, of
    the block the row may take.
    """
    if not call.is_sum or len(call.inputs) != 2:
        return None
    if len({tensor.shape for tensor in call.inputs}) > 1:
        raise Skip("it broadcasts its summands")
    steps, shortcut = read_residual(call)
    # Layers that are called several times must serve all of their inputs.
    is_only = all(step.source.is_only_call for step in steps)
    input_range = value_range(shortcut.root) if is_only else UNLIMITED
    wide = widen(steps, shortcut, input_range)
    before = cost_of_block(steps, shortcut)
    after = cost_of_row(wide, shortcut)
    growth = before.growth_to(after)
    if growth > max_growth:
        raise Skip(
            f"without its residual the block would take {growth:.2f} times as "
            f"much, above max_growth={max_growth:g}: {before.compare(after)}"
        )
    output = _emit(call, wide, shortcut)
    reserved = steps[0].linear.channels
    call.remark(
        f"residual removed: {before.compare(after)}; {reserved} channels "
        f"reserved, {describe_activations(steps, input_range)}"
    )
    return output


def _emit(call, wide, shortcut):
    # The places of the taps depend on the image size where there are strides.
    places = str([each.step.pixel() for each in wide])
    sources = [each.step.source.layer for each in wide]
    added = () if shortcut.linear is None else (shortcut.linear.layer,)
    rows = call.once(
        lambda: [each.make_layers() for each in wide],
        *sources,
        *added,
        places,
        "residual",
    )
    tensor = shortcut.root
    for each, pairs in zip(wide, rows, strict=True):
        tensor = each.step.linear.emit_padding(tensor)
        for layer, fill in pairs:
            tensor = each.step.source.emit(layer, tensor, fill=fill)
    return tensor
