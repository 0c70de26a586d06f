"""Rewrites of a model's graph, one per file.

A rule is a function from a `keras_rep.calls.Call` to the call's new output, or
`None` where it does not fit. It looks upstream only. Where it fits but must
not act, it raises `Skip` with the reason, which goes into the report.
"""

from keras_rep.rules.deploy_rep_layer import (
    deploy_rep_layer as deploy_rep_layer,
)
from keras_rep.rules.fold_batch_norm import fold_batch_norm

DEFAULT_RULES = (deploy_rep_layer, fold_batch_norm)

__all__ = ["DEFAULT_RULES", "deploy_rep_layer", "fold_batch_norm"]
