import keras

from keras_rep.layers.base import register
from keras_rep.layers.term_layer import TermLayer
from keras_rep.terms import Sum


@register
class ACBConv(TermLayer):
    """Asymmetric convolution block: k×k, k×1 and 1×k, each with a BN.

        y = activation(BN(conv k×k(x)) + BN(conv k×1(x)) + BN(conv 1×k(x)))

    Deploys to one `Conv2D` or `DepthwiseConv2D`, the two narrow kernels being
    added to the centre column and row.

    Args:
        filters: Number of output channels.
        kernel_size: Integer or tuple of two integers.
        strides: Integer or tuple of two integers.
        padding: `"same"`, `"valid"` or `"centered"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of two integers.
        groups: Number of channel groups.
        activation: Activation function or its name.
        gamma_initializer: Initializer of the normalizations' gains. The paper
            starts at 1 for ImageNet and at 1/3 for CIFAR.
        **kwargs: `momentum` and `epsilon` of the normalizations,
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint`
            of the branches, as for `TermLayer`.

    Raises:
        ValueError: If the arguments contradict each other.

    Example:
    >>> import numpy as np
    >>> layer = ACBConv(16, strides=2, activation="relu")
    >>> tuple(layer(np.ones((1, 32, 32, 3), "float32")).shape)
    (1, 16, 16, 16)

    Reference:

    - Ding et al. 2019, "ACNet: Strengthening the Kernel Skeletons for Powerful
      CNN via Asymmetric Convolution Blocks", arXiv 1908.03930.
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
        gamma_initializer="ones",
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
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def make_term(self, channels):
        rows, columns = self.kernel_size
        sizes = {
            "kxk": (rows, columns),
            "column": (rows, 1),
            "row": (1, columns),
        }
        return Sum(
            **{
                name: self.make_conv_norm(
                    size, gamma_initializer=self.gamma_initializer
                )
                for name, size in sizes.items()
                if name == "kxk" or size != self.kernel_size
            }
        )

    def get_config(self):
        return {
            **super().get_config(),
            "gamma_initializer": keras.initializers.serialize(
                self.gamma_initializer
            ),
        }
