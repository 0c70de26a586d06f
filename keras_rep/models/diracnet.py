"""DiracNets."""

import dataclasses

from keras import layers

from keras_rep.layers import DiracConv
from keras_rep.models.blocks import make_block
from keras_rep.models.images import image_shape
from keras_rep.models.network import choose, make_network
from keras_rep.models.resnet import make_stem


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One network of the family.

    Attributes:
        blocks: Number of convolutions of each stage.
        width: Width of the stem and of the first stage; each further stage
            has twice the width of the one before.
        is_small: Whether it is for images of 32×32 pixels.
    """

    blocks: tuple
    width: int = 64
    is_small: bool = False


def _small(depth, factor):
    count = (depth - 4) // 6 * 2
    return Configuration((count,) * 3, 16 * factor, is_small=True)


CONFIGURATIONS = {
    "18": Configuration((4, 4, 4, 4)),
    "34": Configuration((6, 8, 12, 6)),
    "28-5": _small(28, 5),
    "28-10": _small(28, 10),
    "34-2": _small(34, 2),
}


def DiracNet(
    variant="18", *, conv=DiracConv, width=1, padding="centered", **options
):
    """DiracNet: a plain row of convolutions that trains as a residual net.

    Published blocks are ReLU, convolution and normalization; here each ends in
    its ReLU, the last block and the stem too. That is the same function, since
    a ReLU and a max-pooling can be exchanged.

    Args:
        variant: `"18"` or `"34"` for ImageNet; `"28-5"`, `"28-10"` or
            `"34-2"`, depth and factor of the widths, for CIFAR.
        conv: The block: `DiracConv`, any other with the arguments of `Conv2D`,
            or `None` for a plain convolution and a normalization.
        width: Factor of all widths.
        padding: `"centered"`, as official weights need it, or `"same"`.
        **options: `include_top`, `weights`, `input_shape`, `pooling`,
            `classes`, `classifier_activation` and `name`, as for
            `keras.applications`, but for 32×32 pixels and 10 classes where
            the variant is for CIFAR; see `make_network`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is unknown, or the weights do not fit.

    Example:
    >>> model = DiracNet("18", width=1 / 8, input_shape=(64, 64, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    Reference:

    - Zagoruyko & Komodakis 2017, "DiracNets: Training Very Deep Neural
      Networks Without Skip-Connections", arXiv 1706.00388.
    """
    row = choose(CONFIGURATIONS, variant, "DiracNet")
    convolve = make_block(conv, None, padding)

    def start(x):
        if not row.is_small:
            return make_stem(x, width, padding)
        plain = make_block(None, None, padding)
        return plain(x, "stem", int(row.width * width), activation="relu")

    def features(x):
        x = start(x)
        for stage, count in enumerate(row.blocks):
            if stage:
                x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
            filters = int(row.width * 2**stage * width)
            for index in range(count):
                name = f"stage{stage + 1}_{index}"
                x = convolve(x, name, filters, activation="relu")
        return x

    options.setdefault("name", f"diracnet_{variant}")
    if row.is_small:
        options.setdefault("input_shape", image_shape(32, 32, 3))
        options.setdefault("classes", 10)
    return make_network(features, **options)
