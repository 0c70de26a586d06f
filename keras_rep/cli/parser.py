"""What may stand behind `keras-rep`."""

import argparse
import importlib.metadata
import math

BACKENDS = ("tensorflow", "jax", "torch")
TYPES = ("float32", "int8", "uint8", "int16")
DATA = """\
data: --data takes a .npy file with one array of samples, a .npz file with
arrays by the names of the model's inputs (or with one array), or a folder of
.png, .jpg and .bmp images, which are resized to the model's input. Pixels are
0 to 255, and nothing is changed, unless --scale, --mean or --std say so: the
model gets (x * scale - mean) / std. For a model that was trained on values
from -1 to 1, that is --scale 1/127.5 --mean 1.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are raised, not printed with the usage."""

    def error(self, message):
        raise ValueError(f"{message}. Run `{self.prog} --help`.")


def make_parser():
    """The `argparse.ArgumentParser` of the command line.

    Its `parse_args` raises `ValueError` for what it does not understand.
    """
    parser = _Parser(
        prog="keras-rep",
        description="Structural re-parameterization for Keras: models of many "
        "branches become plain convolutions, and files for devices.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"keras-rep {importlib.metadata.version('keras-rep')}",
    )
    parser.set_defaults(from_backend=None)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND"
    )
    for add in (
        _add_explain,
        _add_deploy,
        _add_export,
        _add_check,
        _add_bench,
        _add_report,
    ):
        add(commands)
    return parser


def _add_explain(commands):
    command = _add(commands, "explain", "say what deploy does with each layer")
    _add_model(command)
    _add_removal(command)


def _add_deploy(commands):
    command = _add(commands, "deploy", "write a model of plain Keras layers")
    _add_model(command)
    _add_output(command, "OUT.keras")
    _add_removal(command)


def _add_export(commands):
    command = _add(
        commands, "export", "deploy a model and write a TFLite or ONNX file"
    )
    _add_model(command)
    _add_output(command, "OUT.tflite|OUT.onnx")
    _add_data(command, "samples to find ranges with, for --int8 and --int16x8")
    modes = command.add_mutually_exclusive_group()
    for mode, text in {
        "int8": "integers throughout",
        "int16x8": "int16 activations and int8 weights",
        "float16": "weights in half precision",
        "dynamic": "int8 weights, scaled as they are used",
    }.items():
        modes.add_argument(
            f"--{mode}",
            dest="quantization",
            action="store_const",
            const=mode,
            help=text,
        )
    command.add_argument(
        "--per-tensor",
        action="store_true",
        help="one scale for each kernel, with --int8",
    )
    for end in ("input", "output"):
        command.add_argument(
            f"--{end}-type",
            choices=TYPES,
            help=f"type of the {end}s, with --int8 and --int16x8",
        )
    command.add_argument(
        "--batch-size",
        type=_count,
        metavar="N",
        help="number of samples that the file takes at once; without it 1 for "
        "TFLite, any number for ONNX",
    )
    command.add_argument(
        "--opset", type=_count, metavar="N", help="version of ONNX's operations"
    )
    for flag, text in {
        "--as-is": "convert the model without deploying it, to compare with",
        "--no-verify": "do not compare the result with the model",
        "--select-ops": "let operations of TensorFlow's into a TFLite file",
    }.items():
        command.add_argument(flag, action="store_true", help=text)
    command.add_argument(
        "--from-backend",
        choices=BACKENDS,
        help="the backend of Keras that deploys; without it KERAS_BACKEND",
    )


def _add_check(commands):
    command = _add(commands, "check", "run a file and compare it with a model")
    command.add_argument("file", metavar="FILE", help=".tflite or .onnx file")
    _add_model(command)
    _add_data(command, "samples to run", required=True)
    command.add_argument(
        "--layers", action="store_true", help="compare each layer, too"
    )


def _add_bench(commands):
    command = _add(commands, "bench", "measure TFLite files on this machine")
    command.add_argument(
        "files", metavar="FILE", nargs="+", help=".tflite file"
    )
    command.add_argument(
        "--rounds", type=_count, metavar="N", help="measured runs of each file"
    )
    command.add_argument(
        "--threads", type=_count, metavar="N", default=1, help="threads"
    )


def _add_report(commands):
    command = _add(commands, "report", "write a page about a model")
    _add_model(command)
    command.add_argument(
        "--out", metavar="FILE", default="report.html", help="name of the page"
    )
    command.add_argument(
        "--files",
        metavar="FILE",
        nargs="+",
        default=[],
        help=".tflite files of the model, to be measured",
    )
    _add_force(command)


def _add(commands, name, text):
    """Adds a command with the options that all have."""
    command = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document; what is not finite is null",
    )
    command.add_argument(
        "--debug",
        action="store_true",
        help="show the traceback of an error, and what libraries log",
    )
    return command


def _add_model(command):
    command.add_argument("model", metavar="MODEL", help=".keras file")
    command.add_argument(
        "--custom",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="a layer of your own that is in the model; repeat it for others",
    )


def _add_output(command, names):
    command.add_argument("out", metavar=names, help="file to write")
    _add_force(command)


def _add_force(command):
    command.add_argument(
        "--force", action="store_true", help="replace an existing file"
    )


def _add_removal(command):
    command.add_argument(
        "--remove-residuals",
        action="store_true",
        help="remove residual connections, at the cost of multiply-adds",
    )
    command.add_argument(
        "--max-growth",
        type=_positive,
        metavar="X",
        help="with --remove-residuals, how many times the multiply-adds of a "
        "block may be taken",
    )


def _add_data(command, text, *, required=False):
    command.epilog = DATA
    command.add_argument(
        "--data",
        metavar="FILE|FOLDER",
        required=required,
        help=f"{text}; see below",
    )
    command.add_argument(
        "--limit", type=_count, metavar="N", help="take the first N samples"
    )
    for name in ("scale", "mean", "std"):
        command.add_argument(
            f"--{name}",
            type=_numbers,
            metavar="X[,X…]",
            help="one number, or one for each channel, such as 1/255",
        )


def _count(text):
    """A positive integer."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"received {text!r}, expected a positive integer"
        )
    return int(text)


def _positive(text):
    """A positive number."""
    number = _number(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(
            f"received {text!r}, expected a positive number"
        )
    return number


def _numbers(text):
    """Numbers with commas in between."""
    return [_number(part) for part in text.split(",")]


def _number(text):
    """A finite number, or a fraction of two."""
    numerator, _, denominator = text.partition("/")
    try:
        number = float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(
            f"received {text!r}, expected numbers such as 0.5 or 1/255"
        )
    return number
