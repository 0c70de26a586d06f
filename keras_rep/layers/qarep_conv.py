from keras_rep.layers.base import register
from keras_rep.layers.term_layer import TermLayer
from keras_rep.terms import AveragePool, Chain, Identity, Merged, Sum


@register
class QARepConv(TermLayer):
    """Quantization-aware RepVGG block: one BN on the k×k branch, one behind.

        y = activation(BN(BN(conv k×k(x)) + conv 1×1(x) + x))

    The identity exists where the layer keeps channels and image size. Without
    a normalization of its own it cannot grow the outliers that make RepVGG
    hard to quantize. Deploys to one `Conv2D` or `DepthwiseConv2D`.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups.
        activation: Activation function or its name.
        average: Whether to add `average k×k(x)` where the identity exists, as
            a later variant does.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the branches, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> layer = QARepConv(16, strides=2, activation="relu")
    >>> tuple(layer(np.ones((1, 32, 32, 3), "float32")).shape)
    (1, 16, 16, 16)

    Reference:

    - Chu et al. 2022, "Make RepVGG Greater Again: A Quantization-aware
      Approach", arXiv 2212.01593.
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        strides=1,
        padding="same",
        data_format=None,
        dilation_rate=1,
        groups=1,
        activation=None,
        *,
        average=False,
        **kwargs,
    ):
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            groups,
            activation,
            **kwargs,
        )
        self.average = average

    def make_term(self, channels):
        plain = {"point": self.make_conv(self.filters, 1)}
        branches = {"kxk": self.make_conv_norm(self.kernel_size)}
        if self.preserves_shape(channels):
            plain["identity"] = Identity()
            if self.average:
                branches["average"] = AveragePool(self.kernel_size)
        branches["plain"] = Merged(Sum(**plain))
        return Chain(Sum(**branches), self.make_norm())

    def get_config(self):
        return {
            **super().get_config(),
            "average": self.average,
        }
