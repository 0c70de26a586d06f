"""From `fit` to an int8 file that was run: the whole chain on real images.

python examples/demo.py --backend jax --data mnist
"""

import argparse
import json
import os
import pathlib

BACKENDS = ("tensorflow", "jax", "torch")
OUT = pathlib.Path("out")
EPOCHS = {"mnist": 12, "fashion-mnist": 1}


def build(keras, RepConv):
    """A small RepVGG-type net, with two layers of stride 2."""
    inputs = x = keras.Input((28, 28, 1), name="image")
    for index, (filters, strides) in enumerate(
        [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1)]
    ):
        x = RepConv(
            filters, strides=strides, activation="relu", name=f"rep_{index}"
        )(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(10, name="digit")(x)
    return keras.Model(inputs, x, name="demo")


def main(data, epochs):
    import keras
    from datasets import DATASETS
    from plot import plot
    from tables import measure, show

    import keras_rep
    from keras_rep.layers import RepConv

    OUT.mkdir(exist_ok=True)
    keras.utils.set_random_seed(0)
    (x, y), (x_test, y_test) = DATASETS[data]()

    model = build(keras, RepConv)
    steps = epochs * -(-len(x) // 64)
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=2)

    plain = keras_rep.deploy(model)
    print(keras_rep.explain(model))

    model.save(OUT / "training_form.keras")
    plain.save(OUT / "deployed.keras")
    keras_rep.export_tflite(plain, OUT / "deployed.tflite")
    keras_rep.export_tflite(
        model,
        OUT / "deployed_int8.tflite",
        quantization="int8",
        representative_data=x[:500],
    )
    table = measure(model, plain, OUT, x_test, y_test)
    show(table)
    (OUT / "table.json").write_text(json.dumps(table, indent=2) + "\n")
    plot(table, model, keras_rep.explain(model), OUT / "demo.png")
    print(f"Models, table.json and demo.png are in {OUT.resolve()}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, default="tensorflow")
    parser.add_argument("--data", choices=EPOCHS, default="mnist")
    parser.add_argument("--epochs", type=int)
    arguments = parser.parse_args()
    os.environ["KERAS_BACKEND"] = arguments.backend
    main(arguments.data, arguments.epochs or EPOCHS[arguments.data])
