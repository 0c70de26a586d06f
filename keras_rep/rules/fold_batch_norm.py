from keras import layers

from keras_rep.absorbing import pull, push
from keras_rep.affine import LINEAR
from keras_rep.commuting import norm_affine
from keras_rep.errors import Skip


def fold_batch_norm(call):
    """`BatchNormalization(convolution(x))` → `convolution(x)`, or in front.

    The convolution gets the kernel `K·g` and the bias `b·g + β − μ·g`, with
    `g = γ / √(σ² + ε)`. Between the two may stand layers that give the same
    result either way round. A normalization that no convolution precedes goes
    into the one that follows, where no padding is in the way. `Dense`,
    separable and transposed layers count as convolutions.
    """
    if type(call.layer) is layers.BatchNormalization:
        return _fold_behind(call)
    if type(call.layer) in LINEAR:
        return pull(call, layers.BatchNormalization, _read)
    return None


def _fold_behind(call):
    (tensor,) = call.inputs
    affine = _read(call)
    return push(affine, tensor, call)()


def _read(call):
    """The `Affine` of the call of a normalization."""
    if call.is_pinned_to_training:
        raise Skip(
            "it is called with `training=True`, so it always uses the "
            "statistics of the batch"
        )
    return norm_affine(call)
