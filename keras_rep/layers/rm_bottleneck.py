from keras_rep.layers.arguments import positive
from keras_rep.layers.base import register
from keras_rep.layers.residual_layer import ResidualLayer, Stage


@register
class RMBottleneck(ResidualLayer):
    """Residual block 1×1, k×k, 1×1, without residual when deployed.

        h = activation(BN(conv k×k(activation(BN(conv 1×1(x))))))
        y = activation(BN(conv 1×1(h)) + x)

    The k×k convolution has the strides. Where the shapes differ, x is
    projected by a normalized 1×1 convolution. Trains as the bottleneck of
    ResNet or ResNeXt, deploys to three `Conv2D`.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers, for k×k.
        groups: Number of channel groups of the k×k convolution.
        activation: None, `"relu"`, `"relu6"` or `"leaky_relu"`; it follows
            every normalization and the sum.
        reduction: The hidden channels are `filters // reduction`.
        hidden: Their number, in place of that.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the convolutions, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> block = RMBottleneck(16, strides=2)
    >>> tuple(block(np.ones((1, 32, 32, 16), "float32")).shape)
    (1, 16, 16, 16)
    >>> [type(layer).__name__ for layer in block.make_deploy_layers((0, 1))]
    ['Conv2D', 'Conv2D', 'Conv2D']

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
        *,
        reduction=4,
        hidden=None,
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
        self.reduction = positive("reduction", reduction)
        self.hidden = hidden if hidden is None else positive("hidden", hidden)

    @property
    def outer_groups(self):
        """Only the k×k convolution has groups."""
        return 1

    def make_stages(self, channels):
        hidden = self.hidden or self.filters // self.reduction
        if hidden < 1 or hidden % self.groups:
            raise ValueError(
                f"The hidden channels must be divisible by the number of "
                f"groups. Received: filters={self.filters}, reduction="
                f"{self.reduction}, hidden={self.hidden} and groups="
                f"{self.groups}. Expected `hidden`, or else `filters // "
                "reduction`, to be a multiple of `groups`. Change one."
            )
        spatial = self.stage_grid(self.kernel_size, self.strides)
        return [
            Stage("reduce", hidden, self.stage_grid()),
            Stage("spatial", hidden, spatial, self.groups),
            Stage("expand", self.filters, self.stage_grid()),
        ]

    def get_config(self):
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "hidden": self.hidden,
        }
