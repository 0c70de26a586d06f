"""The contract of re-parameterizable layers.

A `RepLayer` can say which plain Keras layers compute the same function in
inference mode.
"""

import math

import keras

register = keras.saving.register_keras_serializable(package="keras_rep")

UNLIMITED = (-math.inf, math.inf)


class RepLayer(keras.layers.Layer):
    """A layer that deploys to a straight list of plain Keras layers."""

    def make_deploy_layers(self, input_range=UNLIMITED):
        """Creates the plain layers, not built, in the order of their calls.

        The last one bears this layer's name.

        Args:
            input_range: The smallest and the largest value that the input can
                have. `deploy` derives it from the model's graph.
        """
        raise NotImplementedError

    def get_deploy_weights(self, input_range=UNLIMITED):
        """Weights of the plain layers, in the order of their calls.

        Args:
            input_range: As for `make_deploy_layers`.

        Returns:
            A list with one list of numpy arrays for each plain layer, as its
            `set_weights` takes it.
        """
        raise NotImplementedError

    def get_deploy_config(self):
        """Configurations of the plain layers, in the order of their calls.

        Returns:
            A list of dictionaries for `keras.layers.deserialize`.
        """
        return [
            keras.layers.serialize(layer) for layer in self.make_deploy_layers()
        ]

    def remark(self, input_range=UNLIMITED):
        """What a user should know about the deployed form, or `None`.

        Args:
            input_range: As for `make_deploy_layers`.
        """
        return None

    def multiply_adds(self, input_shape):
        """Multiply-adds of the training form's convolutions, for one image.

        Args:
            input_shape: Shape of the input, with the batch axis.

        Returns:
            An integer, or `None` where the image size is unknown.
        """
        raise NotImplementedError
