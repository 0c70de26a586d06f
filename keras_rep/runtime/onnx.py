"""ONNX files on ONNX Runtime."""

import collections

import numpy as np

from keras_rep.errors import DeployError
from keras_rep.runtime.batches import batches, joined
from keras_rep.runtime.files import read_file

# The types of images and indices, as ONNX Runtime spells them.
NUMPY_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class ONNXRunner:
    """An ONNX file on ONNX Runtime, called like a function.

    Args:
        file: Name of an `.onnx` file, or its bytes.
        optimizes: Whether ONNX Runtime may rewrite the graph, as it does on
            its own.
        keeps_tensors: Whether `tensors` can be called; takes more memory.

    Attributes:
        operations: The operations in the file and how often each occurs.

    Raises:
        ValueError: If there is no such file.
        DeployError: If ONNX Runtime is not installed or cannot read the file.
    """

    def __init__(self, file, *, optimizes=True, keeps_tensors=False):
        name, content = read_file(file)
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise DeployError(
                "Cannot run an ONNX file. Received: no ONNX Runtime. Expected "
                "the packages onnx and onnxruntime. Run `pip install "
                "'keras-rep[onnx]'`."
            ) from error
        options = onnxruntime.SessionOptions()
        # Warnings, such as of constants that nothing reads, are of no use here.
        options.log_severity_level = 3
        if not optimizes:
            options.graph_optimization_level = (
                onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            )
        try:
            model = onnx.load_model_from_string(content)
            self._names = [x.name for x in model.graph.output]
            if keeps_tensors:
                _return_all_tensors(model)
                content = model.SerializeToString()
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        # The errors of both packages have no class in common but this one.
        except Exception as error:
            raise DeployError(
                f"ONNX Runtime cannot run '{name}'. Received: {error}. "
                "Expected a whole ONNX file, as `keras_rep.export_onnx` writes "
                "it. Export the model again."
            ) from error
        self._inner = [
            name
            for node in model.graph.node
            for name in node.output
            if keeps_tensors and name
        ]
        self.operations = dict(
            collections.Counter(node.op_type for node in model.graph.node)
        )

    def __call__(self, samples):
        """Runs the file on samples.

        Args:
            samples: Dictionary from the names of the file's inputs to arrays
                with samples along the first axis.

        Returns:
            Dictionary from the names of its outputs to arrays.

        Raises:
            ValueError: If the names are not those of the file's inputs.
        """
        return self._run(self._names, samples)

    def tensors(self, samples):
        """Runs the file on samples, and returns what each node returned.

        Args:
            samples: As for a call.

        Returns:
            Dictionary from the names of tensors to arrays, in the order of the
            nodes. It holds no constants.
        """
        return self._run(self._inner, samples)

    def _run(self, names, samples):
        inputs = {x.name: x for x in self._session.get_inputs()}
        if set(inputs) != set(samples):
            raise ValueError(
                f"The inputs do not fit the file. Received: {sorted(samples)}. "
                f"Expected: {sorted(inputs)}. Use these names."
            )
        feed = {
            name: np.asarray(array, NUMPY_TYPES[inputs[name].type])
            for name, array in samples.items()
        }
        try:
            rows = [
                dict(zip(names, self._session.run(names, batch), strict=True))
                for batch in batches(feed, self._batch_size(feed))
            ]
        # The errors of ONNX Runtime have no class in common but this one.
        except Exception as error:
            raise DeployError(
                f"ONNX Runtime cannot run the file. Received: {error}. "
                f"Expected it to take inputs of shapes "
                f"{[array.shape for array in feed.values()]}. Check their "
                "sizes, and export the model again."
            ) from error
        return joined(rows, samples)

    def _batch_size(self, feed):
        """Number of samples at once: the file's, or all that there are."""
        first, *_ = self._session.get_inputs()
        size = first.shape[0] if first.shape else None
        return size if isinstance(size, int) else len(feed[first.name])


def _return_all_tensors(model):
    """Makes what each node returns an output of the graph."""
    from onnx import helper

    known = {x.name for x in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(
        helper.make_empty_tensor_value_info(name)
        for name in names
        if name not in known
    )
