from keras import layers

from keras_rep.absorbing import pull
from keras_rep.affine import LINEAR
from keras_rep.commuting import rescaling_affine


def fold_rescaling(call):
    """`convolution(Rescaling(x))` → `convolution(x)`; `Normalization` likewise.

    Exact where no padding is in the way, or where nothing is added. The model
    then takes the raw image.
    """
    if type(call.layer) not in LINEAR:
        return None
    is_first = getattr(call.layer, "data_format", None) == "channels_first"
    return pull(
        call,
        (layers.Rescaling, layers.Normalization),
        lambda norm: rescaling_affine(norm, is_first),
    )
