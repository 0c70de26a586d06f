from keras_rep.layers.base import TermLayer, register
from keras_rep.terms import Chain, Conv, Norm, Sum


@register
class RepConv(TermLayer):
    """RepVGG block: k×k, 1×1 and identity branches, each with a BN.

        y = activation(BN(conv k×k(x)) + BN(conv 1×1(x)) + BN(x))

    The identity branch exists where the layer keeps channels and image size.
    A kernel of size 1×1 has no second 1×1 branch. Deploys to one `Conv2D`, or
    one `DepthwiseConv2D` where `groups` equals the number of input channels.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"`, or `"centered"`, which pads
            `kernel_size // 2` pixels on both sides as PyTorch does.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups.
        activation: Activation function or its name.
        momentum: Weight of the old value in the moving statistics.
        epsilon: Added to the variance by the normalizations.
        kernel_initializer: Initializer of the branches' kernels; by default
            uniform within `1 / sqrt(fan_in)`, as in PyTorch.
        kernel_regularizer: Regularizer of the branches' kernels.
        kernel_constraint: Constraint of the branches' kernels.

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
        momentum=0.9,
        epsilon=1e-5,
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
        self.momentum = momentum
        self.epsilon = epsilon

    def make_term(self, channels):
        norm = {"momentum": self.momentum, "epsilon": self.epsilon}
        conv = self.branch_options()
        branches = {
            "kxk": Chain(
                Conv(self.filters, self.kernel_size, **conv), Norm(**norm)
            )
        }
        if self.kernel_size != (1, 1):
            branches["point"] = Chain(
                Conv(self.filters, 1, **conv), Norm(**norm)
            )
        if self.preserves_shape(channels):
            branches["identity"] = Norm(**norm)
        return Sum(**branches)

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
