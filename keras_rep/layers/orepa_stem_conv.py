from keras_rep.layers.base import register
from keras_rep.layers.online_layer import GAINS, OnlineLayer
from keras_rep.terms import Chain, Merged


@register
class OREPAStemConv(OnlineLayer):
    """Linear deep stem: a large kernel as a stack of 3×3 kernels, and one BN.

        y = activation(BN(conv(x; 3×3 ∘ 3×3 ∘ …)))

    Every 3×3 is a sum of the six branches of `OREPAConv`. The stack is
    composed in weight space, as the sequence of its convolutions. Deploys to
    one `Conv2D` or `DepthwiseConv2D`.

    Args:
        filters: Number of output channels.
        kernel_size: Odd integer from 3 on, or tuple of two equal ones.
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
    >>> stem = OREPAStemConv(16, 7, strides=2, activation="relu")
    >>> tuple(stem(np.ones((1, 32, 32, 3), "float32")).shape)
    (1, 16, 16, 16)

    Reference:

    - Hu et al. 2022, "Online Convolutional Re-parameterization", arXiv
      2204.00826.
    """

    def __init__(
        self,
        filters,
        kernel_size=7,
        strides=1,
        padding="same",
        data_format=None,
        dilation_rate=1,
        groups=1,
        activation=None,
        *,
        scaling="vector",
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
        rows, columns = self.kernel_size
        if rows != columns or rows % 2 == 0 or rows < 3:
            raise ValueError(
                "A stack of 3×3 kernels is square, with an odd size. Received: "
                f"kernel_size={self.kernel_size}. Expected 3, 5, 7 or the "
                "like. Use `OREPAConv` for other sizes."
            )

    def make_term(self, channels):
        kernels = []
        for _ in range((self.kernel_size[0] - 1) // 2):
            kernels.append(self.make_kernel(channels, (3, 3), GAINS))
            channels = self.filters
        return Chain(Merged(Chain(*kernels)), self.make_norm())
