from keras import activations, layers

from keras_rep.commuting import ELEMENTWISE
from keras_rep.errors import Skip

# Random augmentation passes images on as they are in inference mode; only
# `RandomCrop` resizes them.
AUGMENTATIONS = tuple(
    value
    for name, value in vars(layers).items()
    if name.startswith("Random") and name != "RandomCrop"
)


def drop_inference_noops(call):
    """`Dropout(x)` → `x`, and so on for what does nothing in inference mode.

    That is: dropout, noise, activity regularization, random augmentation,
    linear activations and identities.
    """
    layer = call.layer
    is_linear = (
        type(layer) is layers.Activation
        and layer.activation is activations.linear
    )
    if not (is_linear or type(layer) in (*ELEMENTWISE, *AUGMENTATIONS)):
        return None
    if call.is_pinned_to_training:
        raise Skip("it is called with `training=True`, so it always acts")
    (tensor,) = call.inputs
    if tensor.spec.dtype != call.output.spec.dtype:
        raise Skip(f"it casts {tensor.spec.dtype} to {call.output.spec.dtype}")
    if type(layer) in AUGMENTATIONS:
        call.remark("the augmentation ends with training")
    return tensor
