"""The gradient of grouped convolutions, as Keras computes it and as we do.

    KERAS_BACKEND=jax python benchmarks/groups.py

Printed is how many times as long Keras' takes, with four images on a CPU.
"""

import keras
import numpy as np
from interleaved import measure, ratio
from keras import ops

from keras_rep import backend

# Size of the image and the kernel, groups, inputs and filters of each.
CASES = {
    "depthwise `DBBConv`": (28, 3, 32, 2, 1),
    "ResNeXt 32×4d": (28, 3, 32, 4, 4),
    "RepVGG g4": (14, 3, 4, 64, 64),
    "RepVGG g2": (14, 3, 2, 64, 64),
    "ShuffleNetV1 g=3, 1×1": (28, 1, 3, 20, 80),
}
SETTINGS = {"strides": (1, 1), "padding": "same", "dilation_rate": (1, 1)}
LAYOUT = {"data_format": "channels_last"}


def gradient(convolve, x, kernel):
    """A compiled function that waits for both gradients."""

    def loss(x, kernel):
        return ops.sum(ops.sin(convolve(x, kernel, **SETTINGS, **LAYOUT)))

    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(jax.grad(loss, argnums=(0, 1)))
        return lambda: jax.block_until_ready(compiled(x, kernel))
    import tensorflow as tf

    @tf.function
    def compiled(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            value = loss(x, kernel)
        return tape.gradient(value, [x, kernel])

    return lambda: [each.numpy() for each in compiled(x, kernel)]


def main():
    print(f"Keras with {keras.backend.backend()}")
    rng = np.random.default_rng(0)
    for name, (size, taps, groups, inputs, filters) in CASES.items():
        x = rng.normal(size=(4, size, size, groups * inputs))
        kernel = rng.normal(size=(taps, taps, inputs, groups * filters))
        pair = [ops.convert_to_tensor(a.astype("float32")) for a in (x, kernel)]
        forms = {"keras": ops.conv, "ours": backend.convolve}
        times = measure(
            {form: gradient(conv, *pair) for form, conv in forms.items()},
            rounds=5,
            repeats=1,
        )
        print(
            f"| {name} | {ratio(times['keras'], times['ours']):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
