from keras_rep.layers.base import register
from keras_rep.layers.term_layer import TermLayer
from keras_rep.terms import Chain, Dirac


@register
class DiracConv(TermLayer):
    """Dirac-parameterized convolution: a plain net that trains like a ResNet.

        y = activation(BN(conv(x; α·δ + β·W / ‖W‖)))

    δ passes the input on; α starts at 1 and β at 0.1, one of each for every
    output channel. There is no second branch, so training costs no more than
    an ordinary convolution. Deploys to one `Conv2D` or `DepthwiseConv2D`.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups.
        activation: Activation function or its name.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the branches, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> layer = DiracConv(16, strides=2, activation="relu")
    >>> tuple(layer(np.ones((1, 32, 32, 3), "float32")).shape)
    (1, 16, 16, 16)

    Reference:

    - Zagoruyko & Komodakis 2017, "DiracNets: Training Very Deep Neural
      Networks Without Skip-Connections", arXiv 1706.00388.
    """

    def make_term(self, channels):
        conv = Dirac(
            self.filters,
            self.kernel_size,
            groups=self.groups,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
            kernel_constraint=self.kernel_constraint,
        )
        return Chain(conv, self.make_norm())
