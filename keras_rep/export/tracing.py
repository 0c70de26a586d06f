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

    Args:
        tf: The module tensorflow.
        model: A built functional or sequential model, on the TensorFlow
            backend.
        names: List of names for the outputs.

    Returns:
        Function from tensors, in the order of the inputs, to a dictionary.
    """
    structure = graph.input_specs(model)

    def serve(*tensors):
        inputs = tree.pack_sequence_as(structure, list(tensors))
        # Not `model(...)`, which puts its name in front of those of the layers.
        outputs = model.call(inputs, training=False)
        # One tensor may be several outputs, or an input.
        ends = [tf.identity(x) for x in tree.flatten(outputs)]
        return dict(zip(names, ends, strict=True))

    return serve
