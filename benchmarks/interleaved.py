"""Timing of functions that take turns, because machines drift."""

import statistics
import time


def measure(functions, rounds=12, repeats=2):
    """Times functions in turn, forwards and backwards.

    Args:
        functions: Dictionary from names to functions without arguments.
        rounds: Number of measurements of each.
        repeats: Calls within one measurement.

    Returns:
        Dictionary from names to lists of seconds per call; entries of the same
        index were measured side by side.
    """
    times = {name: [] for name in functions}
    for function in functions.values():
        function()
        function()
    for number in range(rounds):
        order = list(functions)
        for name in order if number % 2 else reversed(order):
            start = time.perf_counter()
            for _ in range(repeats):
                functions[name]()
            elapsed = time.perf_counter() - start
            times[name].append(elapsed / repeats)
    return times


def ratio(times, reference):
    """Median over the rounds of the ratio to the reference of that round."""
    pairs = zip(times, reference, strict=True)
    return statistics.median(a / b for a, b in pairs)
