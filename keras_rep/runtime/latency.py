"""How long TFLite files take on LiteRT, and how much memory."""

import dataclasses
import pathlib
import subprocess
import sys
import time

import numpy as np

from keras_rep.errors import DeployError
from keras_rep.runtime.litert import TFLiteRunner


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long a file takes for one run.

    Attributes:
        path: Name of the file.
        median: Median of the runs, in seconds.
        low: Lower quartile, in seconds.
        high: Upper quartile, in seconds.
    """

    path: str
    median: float
    low: float
    high: float


def latencies(paths, *, rounds=50, warmup=5, num_threads=1):
    """Measures how long TFLite files take on LiteRT, one run at a time.

    The files take turns, so that all of them see the machine in the same
    state.

    Args:
        paths: Names of `.tflite` files.
        rounds: Number of measured runs of each file.
        warmup: Number of runs of each file before these.
        num_threads: Number of threads.

    Returns:
        A list of `Latency`, in the order of the files.

    Raises:
        ValueError: If a file is missing, or there is nothing to measure.
        DeployError: If LiteRT is not installed or cannot read a file.
    """
    if rounds < 1 or warmup < 0 or num_threads < 1:
        raise ValueError(
            f"Nothing to measure. Received: rounds={rounds}, warmup={warmup}, "
            f"num_threads={num_threads}. Expected at least one round and one "
            "thread, and no negative number. Choose larger numbers."
        )
    runners = [TFLiteRunner(path, num_threads) for path in paths]
    times: list[list[float]] = [[] for _ in runners]
    for number in range(warmup + rounds):
        for runner, row in zip(runners, times, strict=True):
            start = time.perf_counter()
            runner.invoke()
            if number >= warmup:
                row.append(time.perf_counter() - start)
    return [
        Latency(str(path), *map(float, np.quantile(row, [0.5, 0.25, 0.75])))
        for path, row in zip(paths, times, strict=True)
    ]


def peak_memory(path, num_threads=1):
    """Measures how much memory a TFLite file takes on LiteRT.

    A process of its own loads the file and runs it. What counts is by how much
    its largest resident size grows, so the weights and all images at once, not
    Python and the runtime's own code.

    Args:
        path: Name of a `.tflite` file.
        num_threads: Number of threads.

    Returns:
        Number of bytes.

    Raises:
        ValueError: If there is no such file.
        DeployError: If LiteRT is not installed or cannot read the file.
    """
    TFLiteRunner(path, num_threads)
    # Keras is not imported there: it takes more than most files do.
    probe = pathlib.Path(__file__).with_name("memory_probe.py")
    child = subprocess.run(
        [sys.executable, str(probe), str(path), str(num_threads)],
        capture_output=True,
        text=True,
    )
    if child.returncode:
        raise DeployError(
            f"Cannot measure the memory of '{path}'. Received from a process "
            f"that ran it: exit code {child.returncode} and\n{child.stderr}\n"
            "Expected it to run. Free memory, or use a smaller file."
        )
    return int(child.stdout)
