"""Linear terms: the branches of a re-parameterized block, and how they join.

A `Term` is linear in its input and obeys one law:

    term(x, training=False) == valid convolution of x with term.to_kernel()

Leaves are convolutions, normalizations, poolings and the like; `Chain` puts
terms in a row, `Sum` and `Concat` side by side, and `Merged` computes a term
as one kernel built anew in every step. A term knows neither strides nor
padding: the layer that holds it samples it under the centre tap of its
deployed kernel (`grid.Grid`).

A term of your own gives at least one of two methods: `to_kernel(read)`, its
kernel written in the algebra of `keras_rep.kernel`, or `call(inputs,
training)`, a valid convolution with stride 1 of a channels-last image.
"""

from keras_rep.terms.base import Term, impulse_response, read_numpy
from keras_rep.terms.chain import Chain
from keras_rep.terms.conv import Conv
from keras_rep.terms.dirac import Dirac
from keras_rep.terms.fixed import (
    AddSlices,
    AveragePool,
    FixedFilter,
    Identity,
    Repeat,
    Slice,
)
from keras_rep.terms.merged import Merged
from keras_rep.terms.norm import Norm
from keras_rep.terms.parallel import Concat, Sum
from keras_rep.terms.scale import ChannelScale

__all__ = [
    "AddSlices",
    "AveragePool",
    "Chain",
    "ChannelScale",
    "Concat",
    "Conv",
    "Dirac",
    "FixedFilter",
    "Identity",
    "Merged",
    "Norm",
    "Repeat",
    "Slice",
    "Sum",
    "Term",
    "impulse_response",
    "read_numpy",
]
