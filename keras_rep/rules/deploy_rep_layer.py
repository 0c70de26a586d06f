import functools

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
    plain_layers = call.once(layer.make_deploy_layers, layer)
    weights = functools.cache(layer.get_deploy_weights)
    (outputs,) = call.args
    for index, plain in enumerate(plain_layers):
        outputs = call.emit(
            plain,
            outputs,
            initialize=lambda new, i=index: new.set_weights(weights()[i]),
        )
    call.becomes(plain_layers)
    return outputs
