from keras_rep.layers.base import register
from keras_rep.layers.residual_layer import ResidualLayer, Stage


@register
class RMBlock(ResidualLayer):
    """Residual block of two k×k convolutions, without residual when deployed.

        y = activation(BN(conv k×k(activation(BN(conv k×k(x))))) + x)

    The first convolution has the strides. Where the shapes differ, x is
    projected by a normalized 1×1 convolution. Trains as the basic block of
    ResNet, deploys to two `Conv2D`: the input is reserved as more channels of
    the first and merged by the second.

    Args:
        filters: Number of output channels, and of hidden ones.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers, for k×k.
        groups: Number of channel groups, for both convolutions.
        activation: None, `"relu"`, `"relu6"` or `"leaky_relu"`; it follows
            every normalization and the sum.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the convolutions, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> block = RMBlock(16, strides=2)
    >>> tuple(block(np.ones((1, 32, 32, 16), "float32")).shape)
    (1, 16, 16, 16)
    >>> [type(layer).__name__ for layer in block.make_deploy_layers((0, 1))]
    ['Conv2D', 'Conv2D']

    Reference:

    - Meng et al. 2021, "RMNet: Equivalently Removing Residual Connection from
      Networks", arXiv 2111.00687.
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
        activation="relu",
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

    def make_stages(self, channels):
        kernel_size, filters = self.kernel_size, self.filters
        first = self.stage_grid(kernel_size, self.strides)
        second = self.stage_grid(kernel_size)
        return [
            Stage("conv_1", filters, first, self.groups),
            Stage("conv_2", filters, second, self.groups),
        ]
