"""CRNet: an autoencoder for the feedback of channel state information."""

import math

import keras
from keras import layers

from keras_rep.layers import TermLayer
from keras_rep.layers.base import register
from keras_rep.models.blocks import make_block
from keras_rep.models.images import channel_count, image_shape
from keras_rep.models.plain import concatenate
from keras_rep.terms import Sum


@register
class PointedConv(TermLayer):
    """A convolution with a 1×1 convolution beside it, each with a BN.

        y = activation(BN(conv k×k(x)) + BN(conv 1×1(x)))

    Deploys to one `Conv2D`. Unlike `RepConv`, it has no identity branch.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups.
        activation: Activation function or its name.
        **kwargs: As for `TermLayer`.

    Example:
    >>> import numpy as np
    >>> layer = PointedConv(8, (1, 9))
    >>> tuple(layer(np.ones((1, 32, 32, 2), "float32")).shape)
    (1, 32, 32, 8)
    """

    def make_term(self, channels):
        return Sum(
            kxk=self.make_conv_norm(self.kernel_size),
            point=self.make_conv_norm(1),
        )


def CRNet(
    compression=4,
    *,
    channels=7,
    conv=None,
    strip=None,
    input_shape=None,
    weights=None,
    name="crnet",
):
    """CRNet: compresses a channel matrix to a code, and recovers it.

    The encoder ends in the layer `"code"`, which the decoder reads; take it
    apart by `keras.Model(model.input, model.get_layer("code").output)` and
    `keras.Model(model.get_layer("code").output, model.output)`.

    Args:
        compression: The code has so many times fewer numbers than the matrix.
        channels: Inner channels of the two blocks of the decoder.
        conv: The block of the 3×3 and 5×5 convolutions, with the arguments of
            `Conv2D`, such as `DBBConv`; `None` for a plain convolution and a
            normalization.
        strip: The block of the 1×k and k×1 convolutions, likewise, such as
            `PointedConv`.
        input_shape: Delays, angles, and 2 for the real and imaginary parts,
            which are shifted into 0 to 1, so that 0.5 stands for zero; by
            default 32, 32 and 2. Channels come first where
            `keras.config.image_data_format()` says so.
        weights: Name of a file of Keras, ending in `.weights.h5`; `None` for
            random weights.
        name: Name of the model.

    Returns:
        A functional `keras.Model` of equal input and output shapes.

    Raises:
        ValueError: If the code cannot have such a size.

    Example:
    >>> model = CRNet(16, input_shape=(16, 16, 2))
    >>> model.get_layer("code").output.shape, model.output_shape
    ((None, 32), (None, 16, 16, 2))

    Reference:

    - Lu et al. 2020, "Multi-resolution CSI Feedback with Deep Learning in
      Massive MIMO System", arXiv 1910.14322.
    """
    if input_shape is None:
        input_shape = image_shape(32, 32, 2)
    size = math.prod(input_shape)
    if size % compression:
        raise ValueError(
            "The size of the matrix must be divisible by the compression. "
            f"Received: compression={compression} and input_shape="
            f"{input_shape}, which is {size} numbers. Expected a divisor of "
            f"{size}. Use a power of two."
        )
    inputs = keras.Input(input_shape, name="matrix")
    planes = channel_count(inputs)
    square = make_block(conv, None, "same")
    # A kernel of one row or column.
    flat = make_block(strip, None, "same")

    def cross(x, name, filters, length):
        x = flat(x, f"{name}_row", filters, (1, length))
        x = _leaky(x, f"{name}_row")
        return flat(x, f"{name}_column", filters, (length, 1))

    def wide(x, name, filters):
        x = _leaky(square(x, f"{name}_square", filters, 3), f"{name}_square")
        return cross(x, name, filters, 9)

    def join(paths, name):
        x = concatenate(paths, f"{name}_concat")
        return square(_leaky(x, f"{name}_concat"), f"{name}_join", planes, 1)

    def encode(x):
        paths = [
            wide(x, "encoder_wide", planes),
            square(x, "encoder_square", planes, 3),
        ]
        x = _leaky(join(paths, "encoder"), "encoder_join")
        x = layers.Flatten(name="encoder_flatten")(x)
        return layers.Dense(size // compression, name="code")(x)

    def decode(x):
        x = layers.Dense(size, name="decoder_dense")(x)
        x = layers.Reshape(input_shape, name="decoder_reshape")(x)
        x = _leaky(square(x, "decoder_stem", planes, 5), "decoder_stem")
        for block in ("decoder_1", "decoder_2"):
            paths = [
                wide(x, f"{block}_wide", channels),
                cross(x, f"{block}_narrow", channels, 5),
            ]
            x = layers.Add(name=f"{block}_add")([x, join(paths, block)])
            x = _leaky(x, f"{block}_add")
        return layers.Activation("sigmoid", name="recovered")(x)

    model = keras.Model(inputs, decode(encode(inputs)), name=name)
    if weights is not None:
        model.load_weights(weights)
    return model


def _leaky(x, name):
    return layers.LeakyReLU(0.3, name=f"{name}_act")(x)
