"""A block of your own: any sum of linear branches deploys to one convolution.

KERAS_BACKEND=jax python examples/custom_block.py
"""

import keras
import numpy as np

import keras_rep
from keras_rep import terms
from keras_rep.layers import TermLayer


@keras.saving.register_keras_serializable(package="my_net")
class HalvesConv(TermLayer):
    """Four branches, which have branches of their own.

        y = activation(BN(conv k×k(x)) + BN(average k×k(BN(conv 1×1(x))))
                       + concat(BN(conv k×k(x₁)), conv 1×1(x₂))
                       + BN(conv(x; k×k + (1×1 + 1) → k×k)))

    x₁ and x₂ are the two halves of the input's channels.
    """

    def make_term(self, channels):
        size, filters = self.kernel_size, self.filters
        average = terms.Chain(
            self.make_conv_norm(1), terms.AveragePool(size), self.make_norm()
        )
        middle, half = channels // 2, filters // 2
        halves = terms.Concat(
            first=terms.Chain(
                terms.Slice(0, middle), self.make_conv_norm(size, half)
            ),
            second=terms.Chain(
                terms.Slice(middle), self.make_conv(filters - half, 1)
            ),
        )
        point = self.make_conv(channels, 1)
        point_kxk = terms.Chain(
            terms.Sum(point=point, identity=terms.Identity()),
            self.make_conv(filters, size),
        )
        # Built as one kernel in every step, so no normalization is inside.
        online = terms.Merged(
            terms.Sum(kxk=self.make_conv(filters, size), point_kxk=point_kxk)
        )
        return terms.Sum(
            kxk=self.make_conv_norm(size),
            average=average,
            halves=halves,
            online=terms.Chain(online, self.make_norm()),
        )


def main():
    inputs = keras.Input((16, 16, 4), name="image")
    x = HalvesConv(8, activation="relu", name="block_0")(inputs)
    x = HalvesConv(8, strides=2, activation="relu", name="block_1")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(3, name="dense")(x)
    model = keras.Model(inputs, x, name="my_net")
    model.compile("adam", "mse")
    generator = np.random.default_rng(0)
    images = generator.normal(size=(16, 16, 16, 4)).astype("float32")
    targets = generator.normal(size=(16, 3)).astype("float32")
    model.fit(images, targets, batch_size=8, verbose=0)

    plain = keras_rep.deploy(model)
    print(keras_rep.explain(model))
    for layer in map(keras.layers.serialize, plain.layers):
        print(f"{layer['module']}.{layer['class_name']}")
    result = keras_rep.verify(model, plain, images)
    print(f"Largest difference of the outputs: {result.max_abs_error:.1e}")


if __name__ == "__main__":
    main()
