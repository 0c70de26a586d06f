"""A model as a TensorFlow function, for the converters."""

from keras import tree

from keras_rep import graph


def signature_of(tf, model, batch_size):
    """List of `tf.TensorSpec` for a model's inputs, with their names.

    Args:
        tf: The module tensorflow.
        model: A built functional or sequential model.
        batch_size: Number of samples, or `None` for any number.
    """
    names = graph.input_names(model)
    return [
        tf.TensorSpec((batch_size, *spec.shape[1:]), spec.dtype, name=name)
        for spec, name in zip(model.inputs, names, strict=True)
    ]


def serving_function(tf, model, names):
    """A function that computes a model in inference mode.

    The weights become constants of its graph: a function that still holds
    variables cannot be calibrated, and one from a SavedModel splits dilated
    convolutions into three operations.

    Args:
        tf: The module tensorflow.
        model: A built functional or sequential model, on the TensorFlow
            backend.
        names: List of names for the outputs.

    Returns:
        Function from tensors, in the order of the inputs, to a dictionary.
    """
    structure = graph.input_specs(model)
    weights = [
        [variable.numpy() for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
        )
    ]

    def serve(*tensors):
        constants = [[tf.constant(x) for x in arrays] for arrays in weights]
        outputs, _ = model.stateless_call(
            *constants,
            tree.pack_sequence_as(structure, list(tensors)),
            training=False,
        )
        # One tensor may be several outputs, or an input.
        ends = [tf.identity(x) for x in tree.flatten(outputs)]
        return dict(zip(names, ends, strict=True))

    return serve
