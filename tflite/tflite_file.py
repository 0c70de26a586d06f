"""Reading TFLite files: the operators, and the Keras layers behind them."""

import dataclasses
import pathlib
import re

import numpy as np
from command_line import UserError

# The name that vela gives to what it compiled for the NPU.
ETHOS_U = "ethos-u"


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator of a file.

    Attributes:
        kind: What it does, in TFLite's words, such as `"CONV_2D"`.
        layer: The Keras layer that it comes from, `"after "` and that before
            it where the converter put it in between, or an empty string.
        outputs: Names of the tensors that it computes.
        indices: Their numbers in the file.
    """

    kind: str
    layer: str
    outputs: tuple[str, ...]
    indices: tuple[int, ...]

    @property
    def tensor(self):
        """Name of the first tensor, or an empty string if it has none."""
        return next(iter(self.outputs), "")


@dataclasses.dataclass(frozen=True)
class TFLiteFile:
    """A TFLite file.

    Attributes:
        path: Name of the file.
        content: Its bytes.
        operators: Tuple of `Operator`, in the order of execution.
    """

    path: str
    content: bytes
    operators: tuple[Operator, ...]


def read(path):
    """Reads a file after LiteRT has checked that it is a whole one.

    Args:
        path: Name of the file.

    Returns:
        A `TFLiteFile`.

    Raises:
        UserError: If there is no such file, it is no TFLite file, or LiteRT is
            not installed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(
            f"Cannot read '{path}'. Received: a path where there is no file. "
            "Expected a .tflite file. Write one with tflite/convert.py."
        )
    content = path.read_bytes()
    _check(path, content)
    return TFLiteFile(str(path), content, tuple(_operators(content)))


def reference_interpreter(content, **options):
    """A file on LiteRT with its reference kernels, the plain C++ loops.

    Args:
        content: The bytes of a TFLite file.
        **options: Further arguments of LiteRT's interpreter.

    Returns:
        The interpreter, with its tensors allocated.

    Raises:
        UserError: If there is no reference kernel for an operator.
    """
    from ai_edge_litert import interpreter

    try:
        runner = interpreter.Interpreter(
            model_content=content,
            experimental_op_resolver_type=(
                interpreter.OpResolverType.BUILTIN_REF
            ),
            **options,
        )
        runner.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            "The file does not run on LiteRT's reference kernels. Received: "
            f"{error}. Expected operators that they have. Replace the layer "
            "that the operator comes from."
        ) from error
    return runner


def random_inputs(file, count, seed=0):
    """Draws integers from the whole range for the inputs of a file.

    Args:
        file: A `TFLiteFile`.
        count: Number of samples.
        seed: Seed of the random numbers.

    Returns:
        List of samples, each a list with one array for each input, in the
        order of the file.

    Raises:
        UserError: If an input or output does not hold integers.
    """
    runner = reference_interpreter(file.content)
    details = runner.get_input_details()
    for detail in (*details, *runner.get_output_details()):
        if not np.issubdtype(detail["dtype"], np.integer):
            raise UserError(
                f"Cannot compare '{file.path}' bit by bit. Received: the "
                f"tensor '{detail['name']}' of type "
                f"{np.dtype(detail['dtype']).name}. Expected integers in "
                "inputs and outputs. Convert the model with --quantization "
                "int8."
            )
    rng = np.random.default_rng(seed)
    return [
        [
            rng.integers(
                np.iinfo(x["dtype"]).min,
                np.iinfo(x["dtype"]).max,
                x["shape"],
                x["dtype"],
                endpoint=True,
            )
            for x in details
        ]
        for _ in range(count)
    ]


def run_reference(file, samples):
    """Runs a file on LiteRT's reference kernels.

    Args:
        file: A `TFLiteFile`.
        samples: As `random_inputs` returns them.

    Returns:
        List with the outputs of each sample, each a list of arrays in the
        order of the file.
    """
    runner = reference_interpreter(file.content)
    rows = []
    for sample in samples:
        feed(runner, sample)
        runner.invoke()
        rows.append(
            [
                runner.get_tensor(detail["index"])
                for detail in runner.get_output_details()
            ]
        )
    return rows


def feed(runner, sample):
    """Sets the inputs of a LiteRT interpreter.

    Args:
        runner: The interpreter.
        sample: List with one array for each input, in the order of the file.
    """
    for detail, array in zip(runner.get_input_details(), sample, strict=True):
        runner.set_tensor(detail["index"], array)


def _check(path, content):
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise UserError(
            "Cannot read TFLite files. Received: no LiteRT. Expected the "
            "package ai-edge-litert. Run `pip install 'keras-rep[tflite]'`."
        ) from error
    try:
        interpreter.Interpreter(model_content=content)
    except ValueError as error:
        raise UserError(
            f"Cannot read '{path}'. Received: {len(content)} bytes, of which "
            f"LiteRT says: {error}. Expected a whole TFLite file. Write one "
            "with tflite/convert.py."
        ) from error


def _operators(content):
    """Yields the operators in the order of execution."""
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items()}
    model = schema.ModelT.InitFromPackedBuf(content)
    graph = model.subgraphs[0]
    returned = {
        end.tensorIndex: end.name.decode()
        for signature in model.signatureDefs or ()
        for end in signature.outputs
    }
    layers: dict[int, str] = {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        # Files from before 2020 have their codes in the older field.
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        custom = code.customCode
        outputs = tuple(map(int, operator.outputs))
        texts = tuple(graph.tensors[i].name.decode() for i in outputs)
        # Vela writes some of its operators without outputs.
        layer = next(filter(None, map(layer_of, texts)), "")
        layer = layer or next(filter(None, map(returned.get, outputs)), "")
        before = next(filter(None, map(layers.get, operator.inputs)), "")
        layers.update(dict.fromkeys(outputs, layer or before))
        if not layer and before:
            layer = f"after {before}"
        yield Operator(
            custom.decode() if custom else names[number], layer, texts, outputs
        )


def layer_of(tensor):
    """The Keras layer in the name of a tensor, behind the models that hold it.

    TensorFlow puts a number behind the name of every layer, and names one
    operator for all that were merged into it, the last one first:
    "block_1/conv_1/Relu;block_1/conv_1/convolution". Scopes of its own begin
    with a capital letter.
    """
    *scopes, _ = tensor.partition(";")[0].split("/")
    layers = []
    for scope in scopes:
        match = re.fullmatch(r"(.+)_\d+", scope)
        if not match or (layers and scope[0].isupper()):
            break
        layers.append(match[1])
    return "/".join(layers)
