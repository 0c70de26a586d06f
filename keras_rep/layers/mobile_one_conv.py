from keras_rep.layers.arguments import positive
from keras_rep.layers.base import register
from keras_rep.layers.term_layer import TermLayer
from keras_rep.terms import AddSlices, Chain, Sum


@register
class MobileOneConv(TermLayer):
    """MobileOne block: n times k×k, 1×1 and identity, each with a BN.

        y = activation(Σⱼ BNⱼ(conv k×k ⱼ(x)) + BN(conv 1×1(x)) + BN(x))

    The n convolutions are stored and computed as one, with n times as many
    filters in the order `(groups, n, filters // groups)`. The identity branch
    exists where the layer keeps channels and image size, the 1×1 branch where
    the kernel is larger. Deploys to one `Conv2D` or `DepthwiseConv2D`.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups.
        activation: Activation function or its name.
        conv_branches: Number of k×k branches, n.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the branches, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> layer = MobileOneConv(16, strides=2, activation="relu")
    >>> tuple(layer(np.ones((1, 32, 32, 3), "float32")).shape)
    (1, 16, 16, 16)

    Reference:

    - Vasu et al. 2022, "MobileOne: An Improved One millisecond Mobile
      Backbone", arXiv 2206.04040.
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
        conv_branches=4,
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
        self.conv_branches = positive("conv_branches", conv_branches)

    def make_term(self, channels):
        count = self.conv_branches
        branches = {
            "kxk": Chain(
                self.make_conv(count * self.filters, self.kernel_size),
                self.make_norm(),
                AddSlices(count, self.groups),
            )
        }
        if self.kernel_size != (1, 1):
            branches["point"] = self.make_conv_norm(1)
        if self.preserves_shape(channels):
            branches["identity"] = self.make_norm()
        return Sum(**branches)

    def get_config(self):
        return {
            **super().get_config(),
            "conv_branches": self.conv_branches,
        }
