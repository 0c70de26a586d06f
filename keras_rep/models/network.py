"""What all networks of this package have in common: input, head, weights."""

import dataclasses
import pathlib

import keras
from keras import layers

from keras_rep.models.checkpoint import load_torch_checkpoint
from keras_rep.models.images import image_shape, image_size


def make_network(
    features,
    name,
    *,
    include_top=True,
    weights=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
):
    """Makes a classifier, or a backbone, out of a function of an image.

    The keyword arguments are those of all functions in `keras_rep.models`, and
    of `keras.applications`.

    Args:
        features: Function from an image tensor to a feature map.
        name: Name of the model.
        include_top: Whether to end in a classifier.
        weights: Name of a file with weights: of Keras, ending in
            `.weights.h5`, or as `load_torch_checkpoint` reads them. `None` for
            random ones.
        input_shape: Height, width and channels, or the channels first where
            `keras.config.image_data_format()` says so; `None` among them for
            any height or width. By default 224, 224 and 3.
        pooling: What a backbone ends in: `"avg"`, `"max"`, or `None` for the
            feature map.
        classes: Number of classes.
        classifier_activation: Activation of the classifier.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is unknown, or the weights do not fit.
    """
    pools = {
        "avg": layers.GlobalAveragePooling2D,
        "max": layers.GlobalMaxPooling2D,
    }
    if pooling not in (None, *pools):
        raise ValueError(
            f"Unknown pooling. Received: pooling={pooling!r}. Expected one of "
            f"{(None, *pools)}. Leave it out for the feature map."
        )
    if input_shape is None:
        input_shape = image_shape(224, 224, 3)
    inputs = keras.Input(input_shape, name="image")
    x = features(inputs)
    if include_top:
        x = _mean(x)
        x = layers.Dense(
            classes, activation=classifier_activation, name="classifier"
        )(x)
    elif pooling is not None:
        x = pools[pooling](name="pool")(x)
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        load_weights(model, weights)
    return model


def _mean(x):
    """Means of a feature map, of which there is nothing to do for one pixel."""
    if image_size(x) == (1, 1):
        return layers.Flatten(name="pool")(x)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def choose(table, variant, family):
    """The row of a table of configurations.

    Args:
        table: Dictionary.
        variant: Key that a user passed, or a row of the user's own.
        family: Name of the function that the user called.

    Raises:
        ValueError: If there is no such row.
    """
    (kind,) = {type(row) for row in table.values()}
    if dataclasses.is_dataclass(kind) and isinstance(variant, kind):
        return variant
    if variant not in table:
        raise ValueError(
            f"Unknown variant of {family}. Received: variant={variant!r}. "
            f"Expected one of {tuple(table)}. Choose one of these."
        )
    return table[variant]


def label(variant):
    """What the name of a model says of its variant, for `choose`."""
    return variant.lower() if isinstance(variant, str) else "custom"


def load_weights(model, path):
    """Loads weights of Keras, or of a PyTorch model.

    Raises:
        ValueError: If they do not fit.
    """
    if pathlib.Path(path).name.endswith(".weights.h5"):
        model.load_weights(path)
    else:
        load_torch_checkpoint(model, path)
