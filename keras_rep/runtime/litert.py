"""TFLite files on LiteRT."""

import collections

import numpy as np

from keras_rep.errors import DeployError
from keras_rep.runtime.batches import batches, joined
from keras_rep.runtime.files import read_file


class TFLiteRunner:
    """A TFLite file on LiteRT, called like a function.

    Args:
        file: Name of a `.tflite` file, or its bytes.
        num_threads: Number of threads; by default LiteRT decides.
        delegates: Whether LiteRT may hand operations to XNNPACK, as it does on
            its own; else its own kernels compute them.
        keeps_tensors: Whether `tensors` can be called; takes more memory.

    Attributes:
        operations: The operations in the file and how often each occurs.
        batch_size: Number of samples that the file takes at once.

    Raises:
        ValueError: If there is no such file.
        DeployError: If LiteRT is not installed or cannot read the file.
    """

    def __init__(
        self, file, num_threads=None, *, delegates=True, keeps_tensors=False
    ):
        name, content = read_file(file)
        try:
            from ai_edge_litert import interpreter
        except ImportError as error:
            raise DeployError(
                "Cannot run a TFLite file. Received: no LiteRT. Expected the "
                "package ai-edge-litert. Run `pip install 'keras-rep[tflite]'`."
            ) from error
        resolvers = interpreter.OpResolverType
        own = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self.interpreter = interpreter.Interpreter(
                model_content=content,
                num_threads=num_threads,
                experimental_op_resolver_type=(
                    resolvers.AUTO if delegates else own
                ),
                experimental_preserve_all_tensors=keeps_tensors,
            )
            self.interpreter.allocate_tensors()
            details = self._signature().get_input_details()
        except (ValueError, RuntimeError) as error:
            raise DeployError(
                f"LiteRT cannot run '{name}'. Received: {error}. Expected a "
                "whole TFLite file with one signature, as "
                "`keras_rep.export_tflite` writes it. Export the model again."
            ) from error
        self._graph, self.operations = _read(content)
        shapes = [detail["shape"] for detail in details.values()]
        self.batch_size = int(shapes[0][0]) if len(shapes[0]) else 1

    def __call__(self, samples):
        """Runs the file on samples, batch by batch.

        Args:
            samples: Dictionary from the names of the file's inputs to arrays
                with samples along the first axis.

        Returns:
            Dictionary from the names of its outputs to arrays. Integers are
            converted from and to real numbers by the file's own scales.

        Raises:
            ValueError: If the names are not those of the file's inputs.
        """
        outputs = joined(list(self._run(samples, dict)), samples)
        details = self._signature().get_output_details()
        return {
            name: _dequantize(array, details[name]["quantization"])
            for name, array in outputs.items()
        }

    def tensors(self, samples):
        """Runs the file on samples, and returns what each operation returned.

        Args:
            samples: As for a call.

        Returns:
            Dictionary from the names of tensors to arrays, as for a call, in
            the order of the operations. It holds no constants.
        """
        details = self._computed()

        def read(_):
            return {name: self._tensor(each) for name, each in details.items()}

        arrays = joined(list(self._run(samples, read)), samples)
        return {
            name: _dequantize(array, details[name]["quantization"])
            for name, array in arrays.items()
        }

    @property
    def largest_outputs(self):
        """The largest real number that each output can hold, by name."""
        details = self._signature().get_output_details()
        return {
            name: float(
                _dequantize(_largest(each["dtype"]), each["quantization"])
            )
            for name, each in details.items()
        }

    @property
    def tensor_parameters(self):
        """Dtype, scale and zero point of what each operation returns, by name.

        In the order of the operations; the scale is 0 for real numbers.
        """
        return {
            name: (np.dtype(each["dtype"]), *each["quantization"])
            for name, each in self._computed().items()
        }

    @property
    def kernel_scales(self):
        """Scales of each int8 constant, by name, as arrays."""
        varying = {*self._computed(), *self._input_tensors()}
        return {
            detail["name"]: detail["quantization_parameters"]["scales"]
            for detail in self.interpreter.get_tensor_details()
            if detail["name"] not in varying and detail["dtype"] is np.int8
        }

    @property
    def output_tensors(self):
        """Names of the tensors inside the file that are its outputs."""
        return [x["name"] for x in self.interpreter.get_output_details()]

    def _input_tensors(self):
        return [x["name"] for x in self.interpreter.get_input_details()]

    def _tensor(self, detail):
        return self.interpreter.get_tensor(detail["index"])

    def _computed(self):
        """Details of the tensors that depend on the inputs, by name."""
        details = {
            detail["index"]: detail
            for detail in self.interpreter.get_tensor_details()
        }
        # What is computed from weights alone is no image.
        varying = {x["index"] for x in self.interpreter.get_input_details()}
        chosen: list[int] = []
        for operator in self._graph.operators:
            if varying.intersection(map(int, operator.inputs)):
                varying.update(map(int, operator.outputs))
                chosen += map(int, operator.outputs)
        return {details[index]["name"]: details[index] for index in chosen}

    @property
    def parameters(self):
        """Scale and zero point of each input and output, by name.

        A real number is `(integer - zero_point) * scale`; the scale is 0 where
        the file has real numbers.
        """
        runner = self._signature()
        details = {**runner.get_input_details(), **runner.get_output_details()}
        return {name: each["quantization"] for name, each in details.items()}

    def invoke(self):
        """Runs the file once on whatever its inputs hold, to be timed."""
        self.interpreter.invoke()

    def _signature(self):
        # Not kept: as long as there is one, `invoke` refuses to run.
        return self.interpreter.get_signature_runner()

    def _run(self, samples, read):
        """Yields what `read` makes of the outputs of each batch."""
        runner = self._signature()
        details = runner.get_input_details()
        if set(details) != set(samples):
            raise ValueError(
                f"The inputs do not fit the file. Received: {sorted(samples)}. "
                f"Expected: {sorted(details)}. Use these names."
            )
        for name, detail in details.items():
            # LiteRT would change the file's sizes.
            received, expected = samples[name].shape, tuple(detail["shape"])
            if received[1:] != expected[1:]:
                raise ValueError(
                    f"The input '{name}' does not fit the file. Received: an "
                    f"array of shape {received}. Expected shape "
                    f"{('samples', *map(int, expected[1:]))}. Pass samples of "
                    "the size that the model was exported for."
                )
        quantized = {
            name: _quantize(samples[name], detail)
            for name, detail in details.items()
        }
        for batch in batches(quantized, self.batch_size):
            yield read(runner(**batch))


def _quantize(values, detail):
    scale, zero_point = detail["quantization"]
    dtype = detail["dtype"]
    if not np.issubdtype(dtype, np.integer) or not scale:
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    grid = np.round(values / scale) + zero_point
    return np.clip(grid, limits.min, limits.max).astype(dtype)


def _largest(dtype):
    is_integer = np.issubdtype(dtype, np.integer)
    return np.array(np.iinfo(dtype).max if is_integer else np.inf)


def _dequantize(values, quantization):
    scale, zero_point = quantization
    if not scale:
        return values
    return (values.astype("float64") - zero_point) * scale


def _read(content):
    """The graph in a file, and how often each operation occurs in it."""
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items()}
    model = schema.ModelT.InitFromPackedBuf(content)
    counts: collections.Counter[str] = collections.Counter()
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            # Files from before 2020 have their codes in the older field.
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            counts[names[number]] += 1
    return model.subgraphs[0], dict(counts)
