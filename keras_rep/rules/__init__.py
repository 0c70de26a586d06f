"""Rewrites of a model's graph, one per file.

A rule is a function from a `keras_rep.calls.Call` to the `Tensor` that takes
the place of the call's output, or `None` where it does not fit. Where it fits
but must not act, it raises `Skip` with the reason, which goes into the report.

`functools.partial` sets the options of a rule, for example
`functools.partial(merge_linear_chains, max_growth=2.0)`.
"""

from keras_rep.rules.deploy_rep_layer import (
    deploy_rep_layer as deploy_rep_layer,
)
from keras_rep.rules.drop_inference_noops import drop_inference_noops
from keras_rep.rules.fold_batch_norm import fold_batch_norm
from keras_rep.rules.fold_rescaling import fold_rescaling
from keras_rep.rules.fold_zero_padding import fold_zero_padding
from keras_rep.rules.fuse_activations import fuse_activations
from keras_rep.rules.merge_linear_chains import merge_linear_chains
from keras_rep.rules.merge_parallel_convs import merge_parallel_convs
from keras_rep.rules.remove_residuals import remove_residuals

# Exact in inference mode, and never at the cost of more multiply-adds.
DEFAULT_RULES = (
    deploy_rep_layer,
    drop_inference_noops,
    fold_batch_norm,
    fold_rescaling,
    fold_zero_padding,
    merge_parallel_convs,
    merge_linear_chains,
    fuse_activations,
)

__all__ = [
    "DEFAULT_RULES",
    "deploy_rep_layer",
    "drop_inference_noops",
    "fold_batch_norm",
    "fold_rescaling",
    "fold_zero_padding",
    "fuse_activations",
    "merge_linear_chains",
    "merge_parallel_convs",
    "remove_residuals",
]
