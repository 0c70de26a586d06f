"""What the examples of data parallelism share: a net, data, a comparison."""

import keras
import numpy as np

import keras_rep
from keras_rep.layers import ACBConv, OREPAConv, RepConv

BATCH = 32  # Of all devices together.
RATE = 0.05


def make_data(steps):
    """Pictures of noise whose class is the brightest of four quarters."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(steps * BATCH, 16, 16, 3)).astype("float32")
    y = rng.integers(0, 4, len(x)).astype("int32")
    for image, label in zip(x, y, strict=True):
        row, column = 8 * (label // 2), 8 * (label % 2)
        image[row : row + 8, column : column + 8] += 1
    return x, y


def build(**options):
    """A net of three blocks, with the same random weights at every call.

    Args:
        **options: Further arguments of the blocks.
    """
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((16, 16, 3), name="image")
    blocks = (RepConv, 8, 1), (ACBConv, 16, 2), (OREPAConv, 16, 1)
    for block, filters, strides in blocks:
        # Smooth: rounding may carry a pixel over the kink of a ReLU, and then
        # its whole gradient differs.
        options.update(strides=strides, activation="swish", name=block.__name__)
        x = block(filters, **options)(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(4, name="quarter")(x)
    return keras.Model(inputs, x, name="net")


def fit(model, x, y, parts=1):
    """Trains for one epoch with SGD, on the data in order.

    Args:
        model: A model of `build`.
        x: Images.
        y: Their classes.
        parts: Number of parts of a batch that pass the net one by one before
            the weights change.
    """
    count = parts if parts > 1 else None
    optimizer = keras.optimizers.SGD(RATE, gradient_accumulation_steps=count)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    model.fit(x, y, batch_size=BATCH // parts, shuffle=False, verbose=0)
    return model


def compare(model, reference, title):
    """Prints how far two trained models and their deployed forms are apart.

    Args:
        model: A trained model of `build`.
        reference: Another one.
        title: What is compared with what.
    """
    arrays, others = (_arrays(each) for each in (model, reference))
    print(f"{title}:")
    for part in arrays:
        pairs = zip(arrays[part], others[part], strict=True)
        largest = max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)
        print(f"    {part:<18}{largest:.1e}", flush=True)


def _arrays(model):
    """Arrays of a model, those that are compared as one."""
    kinds = {"trained weights": [], "moving statistics": []}
    for variable in model.variables:
        kind = "moving statistics"
        if variable.trainable:
            kind = "trained weights"
        elif "moving_" not in variable.path:
            continue
        kinds[kind].append(keras.ops.convert_to_numpy(variable))
    kernels = [w for w in keras_rep.deploy(model).get_weights() if w.ndim == 4]
    return {**kinds, "deployed kernels": kernels}
