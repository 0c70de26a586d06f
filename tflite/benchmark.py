"""Measures how long TFLite files take on LiteRT, and how much memory.

    python tflite/benchmark.py training_form.tflite model.tflite

All files are measured in turns, so that they see the machine in the same
state. Ratios are to the first file.
"""

import argparse
import sys

from command_line import exit_code


def show(times, memories):
    """Prints a table.

    Args:
        times: List of `keras_rep.runtime.Latency`.
        memories: List with the peak memory of each file, in bytes.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("file")
    for title in ("median", "quartiles", "ratio", "peak memory", "ratio"):
        table.add_column(title, justify="right")
    for time, memory in zip(times, memories, strict=True):
        table.add_row(
            time.path,
            f"{time.median * 1e6:,.0f} µs",
            f"{time.low * 1e6:,.0f} to {time.high * 1e6:,.0f} µs",
            f"{time.median / times[0].median:.2f}",
            f"{memory / 2**20:.2f} MiB",
            f"{memory / memories[0]:.2f}" if memories[0] else "",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Measures TFLite files on LiteRT, on this machine."
    )
    parser.add_argument("files", nargs="+", help=".tflite files")
    parser.add_argument(
        "--rounds", type=int, default=100, help="measured runs of each file"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)

    # It takes seconds, which `--help` need not.
    from keras_rep import DeployError
    from keras_rep.runtime import latencies, peak_memory

    def work():
        times = latencies(
            options.files, rounds=options.rounds, num_threads=options.threads
        )
        memories = [peak_memory(x, options.threads) for x in options.files]
        show(times, memories)
        return 0

    return exit_code(work, ValueError, DeployError)


if __name__ == "__main__":
    sys.exit(main())
