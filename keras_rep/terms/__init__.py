"""Linear terms: the branches of a re-parameterized block, and how they join.

A `Term` is linear in its input and obeys one law:

    term(x, training=False) == valid convolution of x with term.to_kernel()

Leaves are convolutions and per-channel normalizations; `Chain` puts terms in a
row, `Sum` side by side. A term knows neither strides nor padding: the layer
that holds it samples it under the centre tap of its deployed kernel
(`window.Grid`).

A term of your own gives at least one of two methods: `to_kernel(read)`, its
kernel written in the algebra of `keras_rep.kernel`, or `call(inputs,
training)`, a valid convolution with stride 1 of a channels-last image.
"""

from keras_rep.terms.base import Term, impulse_response, read_numpy, read_tensor
from keras_rep.terms.combinators import Chain, Sum
from keras_rep.terms.conv import Conv
from keras_rep.terms.norm import Norm

__all__ = [
    "Chain",
    "Conv",
    "Norm",
    "Sum",
    "Term",
    "impulse_response",
    "read_numpy",
    "read_tensor",
]
