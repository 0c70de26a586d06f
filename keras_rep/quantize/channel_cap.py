from keras import layers, ops

from keras_rep.layers.base import register


@register
class ChannelCap(layers.Layer):
    """`min(x, cap)` with a cap for each channel of the last axis.

    What becomes of the cap of ReLU6 where its channels are scaled apart: the
    convolution in front keeps a plain ReLU, and TFLite has MINIMUM for this.

    Args:
        caps: List of numbers, one for each channel.

    Raises:
        ValueError: If the number of channels differs.
    """

    def __init__(self, caps, **kwargs):
        super().__init__(**kwargs)
        self.caps = [float(cap) for cap in caps]

    def build(self, input_shape):
        if input_shape[-1] != len(self.caps):
            raise ValueError(
                f"Layer '{self.name}' does not fit its input. Received: "
                f"{input_shape[-1]} channels and {len(self.caps)} caps. "
                "Expected as many. Give a cap for each channel."
            )
        self.built = True

    def call(self, inputs):
        caps = ops.convert_to_tensor(self.caps, dtype=inputs.dtype)
        return ops.minimum(inputs, caps)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "caps": self.caps}
