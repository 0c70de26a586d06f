"""VGG for small images, with any block as its convolutions."""

from keras import layers

from keras_rep.models.blocks import make_block
from keras_rep.models.images import image_shape
from keras_rep.models.network import choose, make_network

# Convolutions of each of the five stages.
CONFIGURATIONS = {
    "11": (1, 1, 2, 2, 2),
    "13": (2, 2, 2, 2, 2),
    "16": (2, 2, 3, 3, 3),
    "19": (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)


def VGG(variant="16", *, conv=None, width=1, padding="centered", **options):
    """VGG for CIFAR: 3×3 convolutions and poolings, one hidden layer.

    The form in which ACNet (`conv=ACBConv`) and DBB (`conv=DBBConv`) were
    published: every convolution is normalized, and where VGG has two large
    hidden layers, there is one of 512 units behind the mean of the image.

    Args:
        variant: `"11"`, `"13"`, `"16"` or `"19"`.
        conv: The block: any with the arguments of `Conv2D`, or `None` for a
            plain convolution and a normalization.
        width: Factor of all widths.
        padding: `"centered"` or `"same"`.
        **options: `include_top`, `weights`, `input_shape`, `pooling`,
            `classes`, `classifier_activation` and `name`, as for
            `keras.applications`, but for 32×32 pixels and 10 classes; see
            `make_network`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is unknown, or the weights do not fit.

    Example:
    >>> from keras_rep.layers import ACBConv
    >>> model = VGG("11", conv=ACBConv, width=1 / 8)
    >>> model.output_shape
    (None, 10)

    Reference:

    - Simonyan & Zisserman 2014, "Very Deep Convolutional Networks for
      Large-Scale Image Recognition", arXiv 1409.1556.
    - ACNet, arXiv 1908.03930; DBB, 2103.13425.
    """
    counts = choose(CONFIGURATIONS, variant, "VGG")
    convolve = make_block(conv, None, padding)

    def features(x):
        for stage, count in enumerate(counts):
            filters = int(WIDTHS[stage] * width)
            for index in range(count):
                name = f"stage{stage + 1}_{index}"
                x = convolve(x, name, filters, activation="relu")
            x = layers.MaxPooling2D(2, name=f"stage{stage + 1}_pool")(x)
        if options.get("include_top", True):
            x = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
            units = int(512 * width)
            x = layers.Conv2D(units, 1, activation="relu", name="hidden")(x)
        return x

    options.setdefault("name", f"vgg{variant}")
    options.setdefault("input_shape", image_shape(32, 32, 3))
    options.setdefault("classes", 10)
    return make_network(features, **options)
