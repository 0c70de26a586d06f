from keras_rep.layers.arguments import positive
from keras_rep.layers.base import register
from keras_rep.layers.term_layer import TermLayer
from keras_rep.terms import AveragePool, Chain, Identity, Merged, Sum


@register
class DBBConv(TermLayer):
    """Diverse branch block: four branches of different depth, each with BNs.

        y = activation(BN(conv k×k(x)) + BN(conv 1×1(x))
                       + BN(average k×k(BN(conv 1×1(x))))
                       + BN(conv k×k(BN(conv 1×1(x)))))

    Between the two layers of a branch the image is padded with what the first
    normalization makes of zero. The first 1×1 of the last branch starts as the
    identity. A depthwise block has neither the 1×1 branch nor the 1×1 before
    the average. Deploys to one `Conv2D` or `DepthwiseConv2D`.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups.
        activation: Activation function or its name.
        single_init: Whether only the k×k branch starts with a gain of one,
            and the last normalizations of the others with zero.
        internal_channels: Channels between the two convolutions of the last
            branch; by default those of the input, and twice as many for a
            depthwise block.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the branches, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> layer = DBBConv(16, strides=2, activation="relu")
    >>> tuple(layer(np.ones((1, 32, 32, 3), "float32")).shape)
    (1, 16, 16, 16)

    Reference:

    - Ding et al. 2021, "Diverse Branch Block: Building a Convolution as an
      Inception-like Unit", arXiv 2103.13425.
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
        single_init=False,
        internal_channels=None,
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
        self.single_init = single_init
        if internal_channels is not None:
            positive("internal_channels", internal_channels)
        self.internal_channels = internal_channels

    def make_term(self, channels):
        is_depthwise = self.groups == channels == self.filters
        last = {"gamma_initializer": "zeros" if self.single_init else "ones"}
        branches = {"kxk": self.make_conv_norm(self.kernel_size)}
        average = AveragePool(self.kernel_size)
        if is_depthwise:
            branches["average"] = Chain(average, self.make_norm(**last))
        else:
            branches["point"] = self.make_conv_norm(1, **last)
            branches["average"] = Chain(
                self.make_conv(self.filters, 1),
                self.make_norm(),
                average,
                self.make_norm(**last),
            )
        internal = self.internal_channels or channels * (1 + is_depthwise)
        branches["point_kxk"] = Chain(
            self._make_first_point(channels, internal),
            self.make_norm(),
            self.make_conv(self.filters, self.kernel_size),
            self.make_norm(**last),
        )
        return Sum(**branches)

    def _make_first_point(self, channels, internal):
        if internal % self.groups:
            raise ValueError(
                f"`internal_channels` must be divisible by the number of "
                f"groups. Received: internal_channels={internal} and groups="
                f"{self.groups}. Use a multiple of {self.groups}."
            )
        if internal != channels:
            return self.make_conv(internal, 1)
        deviation = self.make_conv(internal, 1, kernel_initializer="zeros")
        return Merged(Sum(deviation=deviation, identity=Identity()))

    def get_config(self):
        return {
            **super().get_config(),
            "single_init": self.single_init,
            "internal_channels": self.internal_channels,
        }
