"""Compiles TFLite files for Arm Ethos-U with vela, and says what runs where.

    python tflite/check_npu.py model.tflite --before training_form.tflite

Vela needs no device; its cycles are estimates. The exit code is 1 where an
operator stays on the CPU.
"""

import argparse
import csv
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import tflite_file
from command_line import UserError, exit_code

ACCELERATOR = "ethos-u55-128"


@dataclasses.dataclass(frozen=True)
class CpuOperator:
    """An operator that stays on the CPU.

    Attributes:
        kind: What it does, in TFLite's words.
        layer: The Keras layer that it comes from.
        tensor: Name of the tensor that it computes.
        reason: Why vela leaves it there, in its words.
    """

    kind: str
    layer: str
    tensor: str
    reason: str


@dataclasses.dataclass(frozen=True)
class NpuResult:
    """What vela makes of a file.

    Attributes:
        path: Name of the file.
        accelerator: The NPU, such as `"ethos-u55-128"`.
        system: Name of vela's description of the system around it.
        npu_operators: Number of operators of the file that the NPU takes.
        cpu_operators: Tuple of `CpuOperator`, those that it does not take.
        cycles: Estimated cycles of the NPU for one inference, with its waiting
            for memory.
        sram: Bytes of SRAM that the NPU takes at most.
        dram: Bytes of DRAM, likewise.
        flash: Bytes of flash for the weights, as vela encodes them.
    """

    path: str
    accelerator: str
    system: str
    npu_operators: int
    cpu_operators: tuple[CpuOperator, ...]
    cycles: int
    sram: int
    dram: int
    flash: int


def compile_for_npu(path, accelerator=ACCELERATOR):
    """Compiles a file in a temporary folder.

    Args:
        path: Name of a `.tflite` file. It is not changed.
        accelerator: The NPU, in vela's words.

    Returns:
        An `NpuResult`.

    Raises:
        UserError: If there is no such file, or vela is not installed or cannot
            compile it.
    """
    file = tflite_file.read(path)
    try:
        import ethosu.vela  # noqa: F401
    except ImportError as error:
        raise UserError(
            "Cannot compile for Ethos-U. Received: no vela. Expected the "
            "package ethos-u-vela. Run `pip install 'keras-rep[npu]'`."
        ) from error
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "model.tflite").write_bytes(file.content)
        messages = _run_vela(file.path, folder, accelerator)
        (summary,) = folder.glob("model_summary_*.csv")
        with summary.open(newline="") as lines:
            (row,) = csv.DictReader(lines)
        compiled = tflite_file.read(folder / "model_vela.tflite")
    reasons = _reasons(messages)
    # What vela takes becomes part of an operator of its own; it hands on the
    # rest as it is.
    on_cpu = tuple(
        CpuOperator(
            operator.kind,
            operator.layer,
            operator.tensor,
            reasons.get(operator.tensor, "vela gives none"),
        )
        for operator in compiled.operators
        if operator.kind != tflite_file.ETHOS_U
    )
    left = {operator.tensor for operator in on_cpu}
    on_npu = [x for x in file.operators if x.tensor not in left]
    return NpuResult(
        path=file.path,
        accelerator=accelerator,
        system=f"{row['system_config']}, {row['memory_mode']}",
        npu_operators=len(on_npu),
        cpu_operators=on_cpu,
        cycles=round(float(row["cycles_total"])),
        sram=_bytes(row, "sram"),
        dram=_bytes(row, "dram"),
        flash=_bytes(row, "on_chip_flash") + _bytes(row, "off_chip_flash"),
    )


def _run_vela(name, folder, accelerator):
    """Compiles `model.tflite` in a folder; returns what vela says."""
    # A process of its own, because vela can crash.
    child = subprocess.run(
        [
            *(sys.executable, "-m", "ethosu.vela", "model.tflite"),
            *("--accelerator-config", accelerator, "--output-dir", "."),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if child.returncode:
        last = (child.stderr or child.stdout).strip().rpartition("\n")[2]
        raise UserError(
            f"Vela cannot compile '{name}'. Received: exit code "
            f"{child.returncode} and '{last}'. Expected a file and an "
            "accelerator that it knows. Run `vela --help` for these."
        )
    return child.stdout


def _reasons(messages):
    """Vela's reasons by the name of the tensor."""
    found = re.findall(
        r"operator: \w+, ofm: '(.*)'\nReason: ((?:.+\n)+)", messages
    )
    return {tensor: " ".join(text.split()) for tensor, text in found}


def _bytes(row, memory):
    # Vela writes them in KiB.
    return round(1024 * float(row[f"{memory}_memory_used"]))


def show(results):
    """Prints a table of results, and the operators that stay on the CPU.

    Args:
        results: List of `NpuResult`.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table("file", "accelerator")
    for title in ("on NPU", "on CPU", "cycles", "SRAM", "DRAM", "flash"):
        table.add_column(title, justify="right")
    for result in results:
        table.add_row(
            pathlib.Path(result.path).name,
            result.accelerator,
            str(result.npu_operators),
            str(len(result.cpu_operators)),
            f"{result.cycles:,}",
            *(kib(x) for x in (result.sram, result.dram, result.flash)),
        )
    console.print(table)
    for system in dict.fromkeys(result.system for result in results):
        console.print(f"Estimated by vela for {system}.", highlight=False)
    left = Table("file", "on the CPU", "Keras layer", "reason")
    for result in results:
        for x in result.cpu_operators:
            name = pathlib.Path(result.path).name
            left.add_row(name, x.kind, x.layer or x.tensor, x.reason)
    if left.row_count:
        console.print(left)


def kib(size):
    """A number of bytes in KiB, as text."""
    return f"{size / 1024:,.1f} KiB"


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Shows what an Arm Ethos-U NPU takes of a TFLite file."
    )
    parser.add_argument("file", help="an int8 .tflite file")
    parser.add_argument("--before", help="another one to compare it with")
    parser.add_argument("--accelerator", nargs="+", default=[ACCELERATOR])
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    def work():
        paths = [options.before, options.file]
        results = [
            compile_for_npu(path, accelerator)
            for accelerator in options.accelerator
            for path in paths
            if path is not None
        ]
        if options.json:
            rows = [dataclasses.asdict(result) for result in results]
            print(json.dumps(rows, indent=2))
        else:
            show(results)
        return int(
            any(x.cpu_operators for x in results if x.path == options.file)
        )

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
