from collections import deque

from keras_rep.errors import Skip
from keras_rep.layers import RepLayer
from keras_rep.layers.base import UNLIMITED
from keras_rep.value_range import value_range


def deploy_rep_layer(call):
    """`RepLayer(x)` → its plain layers, one after the other."""
    layer = call.operation
    if not isinstance(layer, RepLayer):
        return None
    if call.is_pinned_to_training:
        raise Skip(
            "it is called with `training=True`, so its normalizations always "
            "use the statistics of the batch"
        )

    # A layer that is called several times must serve all of its inputs.
    only = call.is_only_call
    input_range = value_range(call, call.args[0]) if only else UNLIMITED

    def make():
        remark = layer.remark(input_range)
        if remark is not None:
            call.remark(remark)
        plain_layers = layer.make_deploy_layers(input_range)
        weights = deque(layer.get_deploy_weights(input_range))
        for plain, values in zip(plain_layers, weights, strict=True):
            # Models are built from the beginning.
            if plain.built:
                plain.set_weights(values)
        return plain_layers, weights

    plain_layers, weights = call.once(make, layer)
    (outputs,) = call.args
    for plain in plain_layers:
        # Taken off, so that the weights do not stay in memory twice.
        outputs = call.emit(plain, outputs, weights=weights.popleft)
    call.becomes(plain_layers)
    return outputs
