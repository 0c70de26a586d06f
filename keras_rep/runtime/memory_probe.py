"""Prints how many bytes it takes to load and run a TFLite file.

Run as a script, so that nothing but LiteRT is in the process.
"""

import pathlib
import resource
import sys

import numpy as np
from ai_edge_litert import interpreter


def peak():
    """The largest resident size of this process so far, in bytes."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # On Linux, what `getrusage` says starts with the size of the parent.
        lines = map(str.split, status.read_text().splitlines())
        (kibibytes,) = (line[1] for line in lines if line[0] == "VmHWM:")
        return 1024 * int(kibibytes)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run(path, num_threads):
    """Loads a file and runs it three times on ones."""
    before = peak()
    runner = interpreter.Interpreter(path, num_threads=num_threads)
    runner.allocate_tensors()
    for detail in runner.get_input_details():
        # Memory that nobody wrote to takes none.
        ones = np.ones(detail["shape"], detail["dtype"])
        runner.set_tensor(detail["index"], ones)
    for _ in range(3):
        runner.invoke()
    return peak() - before


if __name__ == "__main__":
    print(run(sys.argv[1], int(sys.argv[2])))
