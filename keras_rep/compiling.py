"""The compile settings of a model, for the model that is made from it."""

import keras
from keras import tree


def compile_like(model, new):
    """Compiles a model with the settings of another one, if it is compiled.

    Args:
        model: The model that has the settings. It is not changed.
        new: A model with the same outputs. It gets a new optimizer, new
            metrics, and the losses themselves.
    """
    if not model.compiled:
        return
    # The live objects, because losses and metrics of the user's own can
    # rarely be restored from their serialized form.
    settings = dict(model._compile_config.config)
    optimizer = settings.pop("optimizer")
    if isinstance(optimizer, keras.optimizers.Optimizer):
        optimizer = type(optimizer).from_config(optimizer.get_config())
    for name in ("metrics", "weighted_metrics"):
        settings[name] = tree.map_structure(_fresh_metric, settings[name])
    new.compile(optimizer=optimizer, **settings)


def _fresh_metric(metric):
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric
