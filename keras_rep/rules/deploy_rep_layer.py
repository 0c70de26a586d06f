from collections import deque

from keras_rep.errors import Skip
from keras_rep.layers import RepLayer


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

    def make():
        return layer.make_deploy_layers(), deque(layer.get_deploy_weights())

    plain_layers, weights = call.once(make, layer)
    (outputs,) = call.args
    for plain in plain_layers:
        # Taken off, so that the weights do not stay in memory twice.
        outputs = call.emit(plain, outputs, weights=weights.popleft)
    call.becomes(plain_layers)
    return outputs
