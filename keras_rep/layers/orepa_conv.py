from keras_rep.layers.base import register
from keras_rep.layers.online_layer import GAINS, OnlineLayer
from keras_rep.terms import Chain, Merged


@register
class OREPAConv(OnlineLayer):
    """Six linear branches, added up as one kernel in every step, and one BN.

        y = activation(BN(conv(x; Σ branches)))

    The branches are k×k; 1×1 and average; 1×1 and a fixed cosine filter;
    1×1 and k×k; 1×1; and depthwise k×k and 1×1, each times a gain. With a
    kernel of size 1×1 they are 1×1, and 1×1 behind 1×1. Deploys to one
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
        post_norm: Whether a normalization follows the convolution.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the branches, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> layer = OREPAConv(16, strides=2, activation="relu")
    >>> tuple(layer(np.ones((1, 32, 32, 3), "float32")).shape)
    (1, 16, 16, 16)

    Reference:

    - Hu et al. 2022, "Online Convolutional Re-parameterization", arXiv
      2204.00826.
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
        scaling="vector",
        post_norm=True,
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
            scaling=scaling,
            **kwargs,
        )
        self.post_norm = post_norm

    def default_initializer(self):
        return "lecun_uniform" if self.kernel_size == (1, 1) else "he_uniform"

    def make_term(self, channels):
        gains = GAINS
        if self.kernel_size == (1, 1):
            gains = {"origin": 1.0, "point_point": 0.5}
        kernel = Merged(self.make_kernel(channels, self.kernel_size, gains))
        return Chain(kernel, self.make_norm()) if self.post_norm else kernel

    def get_config(self):
        return {**super().get_config(), "post_norm": self.post_norm}
