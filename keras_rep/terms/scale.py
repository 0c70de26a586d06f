import dataclasses

import keras
import numpy as np

from keras_rep.arrays import namespace
from keras_rep.kernel import Kernel
from keras_rep.terms.base import Term, assign_rounded, read_numpy


class ChannelScale(Term):
    """A trainable gain.

    Args:
        initializer: Initializer of the gain.
        shared: Whether all channels have one gain in common.
    """

    def __init__(self, initializer="ones", *, shared=False, **kwargs):
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer)
        self.shared = shared

    def build(self, input_shape):
        super().build(input_shape)
        self.gain = self.add_weight(
            name="gain",
            shape=(1,) if self.shared else (self.channels,),
            initializer=self.initializer,
            autocast=False,
        )

    def to_kernel(self, read=read_numpy):
        gain = read(self.gain)
        gain = namespace(gain).broadcast_to(gain, (self.channels,))
        return Kernel.diagonal(gain, read(np.zeros(self.channels)))

    def pass_back(self, target, front):
        gain = read_numpy(self.gain).astype("float64")
        # Behind a gain of zero there is nothing but zero.
        gain = np.where(gain == 0.0, 1.0, gain)
        assign_rounded(self.gain, gain)
        return dataclasses.replace(
            target, gain=target.gain / gain, offset=target.offset / gain
        )
