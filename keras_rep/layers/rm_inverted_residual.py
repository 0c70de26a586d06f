from keras_rep.layers.arguments import positive
from keras_rep.layers.base import register
from keras_rep.layers.residual_layer import ResidualLayer, Stage


@register
class RMInvertedResidual(ResidualLayer):
    """Inverted residual of MobileNetV2, without residual when deployed.

        h = activation(BN(depthwise k×k(activation(BN(conv 1×1(x))))))
        y = BN(conv 1×1(h)) + x

    The depthwise convolution has the strides; x is added only where the
    shapes are equal. With `expansion=1` there is no first 1×1 convolution.
    Deploys to `Conv2D`, `DepthwiseConv2D` and `Conv2D`, with `PReLU` between
    where a reserved input may be negative.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers, for k×k.
        groups: Number of channel groups of the 1×1 convolutions; only 1.
        activation: None, `"relu"`, `"relu6"` or `"leaky_relu"`; it follows
            the first two normalizations.
        expansion: The hidden channels are so many times the input's.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the convolutions, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> block = RMInvertedResidual(16, strides=2)
    >>> tuple(block(np.ones((1, 32, 32, 16), "float32")).shape)
    (1, 16, 16, 16)
    >>> [type(layer).__name__ for layer in block.make_deploy_layers((0, 1))]
    ['Conv2D', 'DepthwiseConv2D', 'Conv2D']

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
        activation="relu6",
        *,
        expansion=6,
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
        self.expansion = positive("expansion", expansion)
        if groups != 1:
            raise ValueError(
                f"An inverted residual has no groups but those of its "
                f"depthwise convolution. Received: groups={groups}. Expected "
                "1. Leave `groups` out."
            )

    has_projection = False
    activates_output = False

    def make_stages(self, channels):
        hidden = channels * self.expansion
        spatial = self.stage_grid(self.kernel_size, self.strides)
        stages = [
            Stage("expand", hidden, self.stage_grid()),
            Stage("depthwise", hidden, spatial, hidden),
            Stage("project", self.filters, self.stage_grid()),
        ]
        return stages[1:] if self.expansion == 1 else stages

    def get_config(self):
        return {**super().get_config(), "expansion": self.expansion}
