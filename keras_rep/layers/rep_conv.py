from keras_rep.layers.base import register
from keras_rep.layers.term_layer import TermLayer
from keras_rep.terms import Chain, Concat, Slice, Sum


@register
class RepConv(TermLayer):
    """RepVGG block: k×k, 1×1 and identity branches, each with a BN.

        y = activation(BN(conv k×k(x)) + BN(conv 1×1(x)) + BN(x))

    The identity branch exists where the layer keeps channels and image size.
    A kernel of size 1×1 has no second 1×1 branch. Deploys to one `Conv2D`, or
    one `DepthwiseConv2D` where `groups` equals the number of input channels.

    With a `reserve_ratio` r, the first r of the channels pass on what they
    read, and the branches compute the others only: the block of RMNet.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups.
        activation: Activation function or its name.
        reserve_ratio: Share of the channels that pass the block unchanged but
            for the activation, from 0 to below 1. Only where the layer keeps
            channels and image size.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the branches, as for `TermLayer`.

    Input shape:
        `(batch, height, width, channels)`, or with the channels second for
        `"channels_first"`.

    Output shape:
        `(batch, new_height, new_width, filters)`, likewise.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> layer = RepConv(16, strides=2, activation="relu")
    >>> tuple(layer(np.ones((1, 32, 32, 3), "float32")).shape)
    (1, 16, 16, 16)

    Reference:

    - Ding et al. 2021, "RepVGG: Making VGG-style ConvNets Great Again",
      arXiv 2101.03697.
    - Meng et al. 2021, "RMNet: Equivalently Removing Residual Connection from
      Networks", arXiv 2111.00687, for `reserve_ratio`.
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
        reserve_ratio=0.0,
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
        if not 0 <= reserve_ratio < 1:
            raise ValueError(
                f"Invalid value for `reserve_ratio`. Received: reserve_ratio="
                f"{reserve_ratio!r}. Expected a number from 0 to below 1. Set "
                "it to 0 to compute every channel."
            )
        self.reserve_ratio = reserve_ratio

    def count_reserved(self, channels):
        return int(channels * self.reserve_ratio)

    def make_term(self, channels):
        preserves = self.preserves_shape(channels)
        reserved = self.count_reserved(channels)
        if reserved and (not preserves or self.groups > 1):
            raise ValueError(
                f"Cannot reserve channels. Received: reserve_ratio="
                f"{self.reserve_ratio}, {channels} input channels, filters="
                f"{self.filters}, strides={self.strides}, padding="
                f"{self.padding!r} and groups={self.groups}. Expected a layer "
                "that keeps channels and image size, with one group. Set "
                "`reserve_ratio=0`, or change the others."
            )
        computed = self.filters - reserved
        branches = {"kxk": self.make_conv_norm(self.kernel_size, computed)}
        if self.kernel_size != (1, 1):
            branches["point"] = self.make_conv_norm(1, computed)
        if preserves:
            branches["identity"] = self.make_norm()
        if not reserved:
            return Sum(**branches)
        branches["identity"] = Chain(Slice(reserved), branches["identity"])
        return Concat(reserved=Slice(0, reserved), computed=Sum(**branches))

    def get_config(self):
        return {
            **super().get_config(),
            "reserve_ratio": self.reserve_ratio,
        }
