"""The ways in which a TFLite file can hold its numbers."""

import dataclasses

# The types of inputs and outputs for each mode, the usual one first.
TYPES = {
    None: ("float32",),
    "float16": ("float32",),
    "dynamic": ("float32",),
    "int8": ("int8", "uint8", "float32"),
    "int16x8": ("int16", "float32"),
}
# The modes whose activations are integers, which takes data to find ranges.
CALIBRATED = ("int8", "int16x8")


@dataclasses.dataclass(frozen=True)
class Quantization:
    """How a file holds weights, activations, inputs and outputs.

    Attributes:
        mode: `None` for float32, `"float16"` for weights in half precision,
            `"dynamic"` for int8 weights that are scaled as they are used,
            `"int8"` for integers throughout, `"int16x8"` for int16 activations
            and int8 weights.
        per_tensor: Whether a convolution's kernel has one scale, instead of
            one for each output channel.
        input_type: Type of the inputs.
        output_type: Type of the outputs.
    """

    mode: str | None = None
    per_tensor: bool = False
    input_type: str = "float32"
    output_type: str = "float32"

    @classmethod
    def of(cls, mode, per_tensor=False, input_type=None, output_type=None):
        """The `Quantization` for a user's arguments.

        Raises:
            ValueError: If they are unknown, or do not go together.
        """
        if mode not in TYPES:
            raise ValueError(
                f"Unknown quantization. Received: quantization={mode!r}. "
                f"Expected one of {tuple(TYPES)}. Leave it out for float32."
            )
        if per_tensor and mode != "int8":
            raise ValueError(
                f"`per_tensor` is of no use here. Received: quantization="
                f"{mode!r}. Expected 'int8', whose kernels have one scale for "
                "each channel otherwise. Leave `per_tensor` out."
            )
        chosen = {"input_type": input_type, "output_type": output_type}
        for name, value in chosen.items():
            if value is not None and value not in TYPES[mode]:
                raise ValueError(
                    f"Invalid value for `{name}`. Received: {name}={value!r} "
                    f"and quantization={mode!r}. Expected one of "
                    f"{TYPES[mode]}. Leave it out for '{TYPES[mode][0]}'."
                )
        return cls(
            mode,
            per_tensor,
            *(value or TYPES[mode][0] for value in chosen.values()),
        )

    @property
    def needs_data(self):
        """Whether ranges of the activations are to be found."""
        return self.mode in CALIBRATED


FLOAT32 = Quantization()
