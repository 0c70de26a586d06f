from keras_rep.layers.base import register
from keras_rep.layers.online_layer import GAINS, OnlineLayer
from keras_rep.terms import Chain, Merged, Sum


@register
class OREPAVGGConv(OnlineLayer):
    """RepVGG block whose k×k branch is an online kernel of five branches.

        y = activation(BN(conv(x; Σ branches)) + BN(conv 1×1(x)) + BN(x))

    The branches are those of `OREPAConv` without its 1×1. The identity branch
    exists where the layer keeps channels and image size. Deploys to one
    `Conv2D` or `DepthwiseConv2D`.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups.
        activation: Activation function or its name.
        scaling: `"vector"` for one trainable gain of each branch and channel,
            `"scalar"` for one of each branch, `"none"` for no gains.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the branches, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> layer = OREPAVGGConv(16, strides=2, activation="relu")
    >>> tuple(layer(np.ones((1, 32, 32, 3), "float32")).shape)
    (1, 16, 16, 16)

    Reference:

    - Hu et al. 2022, "Online Convolutional Re-parameterization", arXiv
      2204.00826.
    """

    def default_initializer(self):
        return "lecun_uniform"

    def make_term(self, channels):
        gains = {k: gain for k, gain in GAINS.items() if k != "point"}
        kernel = Merged(self.make_kernel(channels, self.kernel_size, gains))
        branches = {
            "kxk": Chain(kernel, self.make_norm()),
            "point": self.make_conv_norm(1),
        }
        if self.preserves_shape(channels):
            branches["identity"] = self.make_norm()
        return Sum(**branches)
