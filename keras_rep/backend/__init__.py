"""Backend-specific fast paths: the few places where plain Keras ops are slow.

Each function has one meaning on every backend; `benchmarks/` measures what the
special forms gain. Nothing else in the package looks at the backend.
"""

from keras_rep.backend.convolution import (
    average,
    convolve,
    convolve_pointwise,
)
from keras_rep.backend.current import MERGES_POINTWISE
from keras_rep.backend.images import (
    at_least_single,
    channel_axis,
    per_channel,
    shift,
)
from keras_rep.backend.normalization import normalize_batch

__all__ = [
    "MERGES_POINTWISE",
    "at_least_single",
    "average",
    "channel_axis",
    "convolve",
    "convolve_pointwise",
    "normalize_batch",
    "per_channel",
    "shift",
]
