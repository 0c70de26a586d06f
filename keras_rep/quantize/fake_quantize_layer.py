import keras
from keras import layers, ops

from keras_rep.layers.base import register


@register
class FakeQuantize(layers.Layer):
    """Rounds to the numbers that the integers of a range stand for.

    The gradient passes as if nothing were rounded, and stops where values are
    clipped (the straight-through estimator).

    Args:
        low: Lower bound of the range.
        high: Upper bound.
        bits: 8, or 16 for integers that are symmetric around zero.
        learned: Whether the bounds are trainable. What is clipped moves them.
        site: Name of the range.

    Reference:

    - Jacob et al. 2017, "Quantization and Training of Neural Networks for
      Efficient Integer-Arithmetic-Only Inference", arXiv 1712.05877.
    - Choi et al. 2018, "PACT: Parameterized Clipping Activation for Quantized
      Neural Networks", arXiv 1805.06085, for learned bounds.
    """

    def __init__(self, low, high, bits=8, learned=False, site=None, **kwargs):
        super().__init__(**kwargs)
        self.low, self.high = float(low), float(high)
        self.bits = bits
        self.learned = learned
        self.site = site

    def build(self, input_shape):
        for name in ("low", "high"):
            bound = getattr(self, name)
            variable = self.add_weight(
                name=f"{name}_bound",
                shape=(),
                initializer=keras.initializers.Constant(bound),
                # What a rectifier returns starts at zero, whatever is learned.
                trainable=self.learned and bound != 0,
                autocast=False,
            )
            setattr(self, f"{name}_bound", variable)
        self.built = True

    def call(self, inputs):
        low = ops.minimum(ops.convert_to_tensor(self.low_bound), 0.0)
        high = ops.maximum(ops.convert_to_tensor(self.high_bound), 0.0)
        step, offset, low, high = _grid(low, high, self.bits)
        values = ops.cast(inputs, "float32")
        clipped = ops.minimum(ops.maximum(values, low), high)
        rounded = step * (ops.round(clipped / step + offset) - offset)
        rounded = clipped + ops.stop_gradient(rounded - clipped)
        return ops.cast(rounded, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    @property
    def range(self):
        """The range as it is now, a list of two numbers."""
        if not self.built:
            return [self.low, self.high]
        return [
            float(ops.convert_to_numpy(bound))
            for bound in (self.low_bound, self.high_bound)
        ]

    def get_config(self):
        return {
            **super().get_config(),
            "low": self.low,
            "high": self.high,
            "bits": self.bits,
            "learned": self.learned,
            "site": self.site,
        }


def _grid(low, high, bits):
    """The step, the integer of zero less the smallest one, and the bounds.

    As `Scale.of` has them, in tensors.
    """
    if bits == 16:
        step = ops.maximum(-low, high) / 32767.0
        return ops.stop_gradient(step), 0.0, -step * 32767.0, step * 32767.0
    step = (high - low) / 255.0
    offset = ops.stop_gradient(ops.round(-low / step))
    bounds = -offset * step, (255.0 - offset) * step
    return ops.stop_gradient(step), offset, *bounds
