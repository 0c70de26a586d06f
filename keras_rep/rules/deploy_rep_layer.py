import functools

from keras_rep.errors import Skip
from keras_rep.layers import RepLayer
from keras_rep.layers.base import UNLIMITED
from keras_rep.value_range import value_range


def deploy_rep_layer(call):
    """`RepLayer(x)` → its plain layers, one after the other."""
    layer = call.layer
    if not isinstance(layer, RepLayer):
        return None
    if call.is_pinned_to_training:
        raise Skip(
            "it is called with `training=True`, so its normalizations always "
            "use the statistics of the batch"
        )
    (output,) = call.inputs
    # A layer that is called several times must serve all of its inputs.
    input_range = value_range(output) if call.is_only_call else UNLIMITED
    plain_layers = call.once(
        lambda: _deployed(call, input_range), deploy_rep_layer, layer
    )
    for plain, fill in plain_layers:
        output = call.emit(plain, output, fill=fill)
    return output


def _deployed(call, input_range):
    """Pairs of a plain layer and a function that gives its weights."""
    layer = call.layer
    remark = layer.remark(input_range)
    if remark is not None:
        call.remark(remark)

    remaining: dict[int, list] = {}

    def take(index):
        # Taken off, so that the weights do not stay in memory twice.
        if index not in remaining:
            remaining.update(enumerate(layer.get_deploy_weights(input_range)))
        return remaining.pop(index)

    return [
        (plain, functools.partial(take, index))
        for index, plain in enumerate(layer.make_deploy_layers(input_range))
    ]
