"""From Keras on TensorFlow to the bytes of an ONNX file."""

import contextlib
import logging

import keras
import numpy as np
from keras import layers

from keras_rep.errors import DeployError
from keras_rep.export.tracing import serving_function, signature_of
from keras_rep.graph import sublayers

# The newest opset in which tf2onnx 1.17 moves a Transpose through a mean. What
# asks for a newer one gets it from onnx.
NEWEST = 17
ARITHMETIC = ("AddV2", "Mul", "Sub", "RealDiv", "Maximum", "Minimum")


def convert(model, samples, names, batch_size, opset):
    """Converts a model with tf2onnx.

    Args:
        model: A built functional or sequential model, on the TensorFlow
            backend.
        samples: `None`; for the sake of one interface.
        names: List of names for the outputs.
        batch_size: Number of samples that the file takes at once, or `None`
            for any number.
        opset: Version of the ONNX operations.

    Returns:
        Bytes.

    Raises:
        DeployError: If the model cannot be converted.
    """
    try:
        import onnx
        import onnx.numpy_helper
        import onnx.reference
        import onnx.version_converter
        import tensorflow as tf
        import tf2onnx
    except ImportError as error:
        raise DeployError(
            f"Cannot convert to ONNX. Received: {error}. Expected the packages "
            "tensorflow, tf2onnx and onnx. Run `pip install "
            "'keras-rep[onnx]'`."
        ) from error
    kernels = _kernels(model)
    signature = signature_of(tf, model, batch_size)
    count = len(signature)
    signature += [tf.TensorSpec(x.shape, x.dtype, "kernel") for x in kernels]
    serve = serving_function(tf, model, names)
    with _inlined(tf), _quiet("tensorflow"):
        function = tf.compat.v1.wrap_function(
            _without_variables(tf, model, kernels, serve), signature
        )
    inputs = [x.name for x in function.inputs[: len(signature)]]
    outputs = {x.name: name for name, x in function.structured_outputs.items()}
    bare = {name: name.partition(":")[0] for name in inputs}
    try:
        with _quiet("tensorflow"):
            content, _ = tf2onnx.convert.from_graph_def(
                _frozen(tf, function.graph),
                name=model.name,
                input_names=inputs,
                output_names=list(outputs),
                tensors_to_rename=bare | outputs,
                opset=min(opset, NEWEST),
                custom_op_handlers={
                    "Conv3D": (_convert_conv3d, []),
                    "Erfc": (_convert_erfc, []),
                },
            )
        _keep_pads(onnx, content.graph)
        ends = [bare[name] for name in inputs[count:]]
        values = zip(ends, (x.numpy() for x in kernels), strict=True)
        _set_kernels(onnx, content, dict(values))
        _name_batch_axis(content)
        onnx.checker.check_model(content, full_check=True)
        if opset > NEWEST:
            content = onnx.version_converter.convert_version(content, opset)
            onnx.checker.check_model(content, full_check=True)
    # tf2onnx raises whatever its steps do, and the checker its own errors.
    except Exception as error:
        raise DeployError(
            f"Cannot convert model '{model.name}' to ONNX. Received from "
            f"tf2onnx: {type(error).__name__}: {error}. Expected operations "
            f"that ONNX has in opset {opset}. Choose another opset, or replace "
            "the operation that it names."
        ) from error
    return content.SerializeToString()


def _kernels(model):
    """The variables that hold nearly all of a model's weights.

    Not those of recurrent layers, which tf2onnx recognizes by their constants.
    """
    dense = [x.kernel for x in sublayers(model) if isinstance(x, layers.Dense)]
    known = {id(kernel) for kernel in dense}
    return [x for x in model.variables if len(x.shape) > 2 or id(x) in known]


def _without_variables(tf, model, kernels, serve):
    """A serving function without variables, which tf2onnx cannot read.

    Its last arguments are the kernels: of constants, tf2onnx makes sixty
    copies.
    """
    ids = {id(kernel) for kernel in kernels}
    values = [(x, x.numpy()) for x in model.variables if id(x) not in ids]

    def serve_stateless(*tensors):
        count = len(tensors) - len(kernels)
        mapping = [
            *((variable, tf.constant(value)) for variable, value in values),
            *zip(kernels, tensors[count:], strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping):
            return serve(*tensors[:count])

    return serve_stateless


def _set_kernels(onnx, content, values):
    """Gives a converted graph its kernels.

    What is made of them alone is computed: tf2onnx transposes them.

    Args:
        onnx: The module onnx.
        content: An `onnx.ModelProto`, whose inputs the kernels are.
        values: Dictionary from their names to arrays.
    """
    graph = content.graph
    opsets = {x.domain: x.version for x in content.opset_import}
    constants = {x.name: x for x in graph.initializer}
    nodes = []
    for node in graph.node:
        names = set(node.input)
        if names.isdisjoint(values) or not names <= {*values, *constants}:
            nodes.append(node)
            continue
        feeds = {
            name: values[name]
            if name in values
            else onnx.numpy_helper.to_array(constants[name])
            for name in names
        }
        evaluator = onnx.reference.ReferenceEvaluator(node, opsets)
        values |= zip(node.output, evaluator.run(None, feeds), strict=True)
    used = {name for node in nodes for name in node.input}
    inputs = [x for x in graph.input if x.name not in values]
    initializers = [x for x in graph.initializer if x.name in used]
    for field, kept in (
        ("node", nodes),
        ("input", inputs),
        ("initializer", initializers),
    ):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)
    graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name)
        for name, value in values.items()
        if name in used
    )


def _convert_conv3d(graph, node, name, _):
    """As tf2onnx does, and with the number of groups, which it forgets."""
    from tf2onnx.onnx_opset.nn import ConvOp

    channels = graph.get_shape(node.input[0])[-1]
    per_group = graph.get_shape(node.input[1])[-2]
    ConvOp.version_13(graph, node)
    node.set_attr("group", channels // per_group)


def _convert_erfc(graph, node, name, _):
    """`erfc(x)`, as in the exact GELU, → `1 - erf(x)`."""
    one = graph.make_const(f"{name}_one", np.ones(1, "float32")).output[0]
    (x,), (y,) = node.input, node.output
    shapes, dtypes = node.output_shapes, node.output_dtypes
    graph.remove_node(name)
    erf = graph.make_node("Erf", [x], shapes=shapes, dtypes=dtypes)
    graph.make_node(
        "Sub", [one, erf.output[0]], outputs=[y], shapes=shapes, dtypes=dtypes
    )


def _frozen(tf, graph):
    """The definition of a graph, with constants as tf2onnx likes them.

    What the graph captured, such as the mean of a `Normalization` layer,
    becomes a constant. Scalars become arrays of one element: in front of a
    scalar that is added to a convolution, tf2onnx 1.17 gives up moving any
    Transpose of the whole graph.
    """
    definition = graph.as_graph_def()
    nodes = {node.name: node for node in definition.node}
    for outer, inner in graph.captures:
        _make_constant(tf, nodes[inner.op.name], outer.numpy())
    for operation in graph.get_operations():
        if operation.type not in ARITHMETIC:
            continue
        ranks = [tensor.shape.rank for tensor in operation.inputs]
        for index, tensor in enumerate(operation.inputs):
            source = nodes[tensor.op.name]
            if source.op == "Const" and ranks[index] == 0 < max(ranks):
                value = tf.make_ndarray(source.attr["value"].tensor)
                name = f"{operation.name}/constant_{index}"
                node = definition.node.add(name=name)
                _make_constant(tf, node, value.reshape(1))
                nodes[operation.name].input[index] = name
    return definition


def _keep_pads(onnx, graph):
    """Keeps ONNX Runtime from merging a Pad into the MaxPool behind it.

    Version 1.31 does so though a maximum ignores its own padding and not the
    zeros of a Pad. It leaves a Pad of another value than zero alone, such as
    the least number.
    """
    pooled = {node.input[0] for node in graph.node if node.op_type == "MaxPool"}
    least = np.full((), np.finfo("float32").tiny)
    name = "least_number"
    found = [
        node
        for node in graph.node
        if node.op_type == "Pad" and pooled.intersection(node.output)
    ]
    values = {x.name: onnx.numpy_helper.to_array(x) for x in graph.initializer}
    for node in found:
        if len(node.input) > 2 and values.get(node.input[2], 1) != 0:
            continue
        node.input[:] = [*node.input[:2], name, *node.input[3:]]
    if found and name not in values:
        graph.initializer.append(onnx.numpy_helper.from_array(least, name))


def _name_batch_axis(content):
    """Calls the number of samples "batch" where it is open."""
    for value in (*content.graph.input, *content.graph.output):
        for axis in value.type.tensor_type.shape.dim[:1]:
            if not axis.dim_value:
                axis.dim_param = "batch"


def _make_constant(tf, node, value):
    node.op = "Const"
    node.ClearField("attr")
    proto = tf.make_tensor_proto(value)
    node.attr["value"].tensor.CopyFrom(proto)
    node.attr["dtype"].type = proto.dtype


@contextlib.contextmanager
def _inlined(tf):
    """Lets TensorFlow put what functions inside of a function do in its graph.

    Keras computes grouped convolutions in a function of their own, which is
    compiled by XLA and which tf2onnx cannot look into.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextlib.contextmanager
def _quiet(*names):
    """Silences warnings on calls that are not the user's."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
