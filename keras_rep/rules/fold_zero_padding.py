from keras_rep.affine import (
    DEPTHWISE,
    PLAIN,
    SEPARABLE,
    ZERO_PADDING,
    channel_axis,
)
from keras_rep.cloning import config_of
from keras_rep.errors import Skip
from keras_rep.grid import same_pads


def fold_zero_padding(call):
    """`convolution(ZeroPadding(x))` → `convolution(x)` with `padding="same"`.

    Where the zeros are those that `"same"` adds for the size of x. In a TFLite
    file the convolution pads for free; the layer is an operation of its own.
    """
    layer = call.layer
    is_convolution = type(layer) in (*PLAIN, *DEPTHWISE, *SEPARABLE)
    if not is_convolution or layer.padding != "valid":
        return None
    padding = call.inputs[0].producer
    if padding is None or type(padding.layer) not in ZERO_PADDING:
        return None
    (tensor,) = padding.inputs
    rank = len(tensor.shape)
    axis = channel_axis(layer, rank)
    if axis != channel_axis(padding.layer, rank):
        return None
    sizes = tensor.shape[2:] if axis == 1 else tensor.shape[1:-1]
    geometry = (layer.kernel_size, layer.strides, layer.dilation_rate)
    same = [same_pads(*each) for each in zip(sizes, *geometry, strict=True)]
    zeros = padding.layer.padding
    zeros = [tuple(pair) for pair in ([zeros] if rank == 3 else zeros)]
    if zeros != same:
        raise Skip(
            f"it pads {zeros}, and `padding='same'` of '{layer.name}' would "
            f"pad {'by an unknown size' if None in same else same}",
            padding,
        )
    config = {**config_of(layer), "padding": "same"}
    padded = call.once(lambda: type(layer).from_config(config), layer, "padded")
    return call.emit(padded, tensor, fill=call.weights)
