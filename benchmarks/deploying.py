"""Time and memory of deploying RepVGG-B3, 123 million parameters.

Run once for each backend:

    KERAS_BACKEND=jax python benchmarks/deploying.py
"""

import argparse
import pathlib
import re
import time

import keras
import numpy as np
from nets import REPVGG_B3, classifier, rep_block

import keras_rep


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    model = classifier(rep_block, REPVGG_B3, arguments.size, classes=1000)
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name == "moving_variance":
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    # Keras imports TensorFlow, where there is one, at the first serialization.
    small = classifier(rep_block, [(8, 2)], 32)
    size = sum(np.prod(v.shape) for v in model.weights) * 4
    keras_rep.deploy(small, verify=False)
    before = memory("VmRSS")
    # Writing 5 resets the peak to the present value.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    keras_rep.deploy(model, verify=False)
    rewrite = time.perf_counter() - start
    extra = memory("VmHWM") - before
    start = time.perf_counter()
    keras_rep.deploy(model)
    whole = time.perf_counter() - start
    print(
        f"{keras.backend.backend()}: {model.count_params() / 1e6:.0f} M "
        f"parameters, {rewrite:.1f} s without verification, {whole:.1f} s "
        f"with it, extra memory {extra / size:.2f} × the model"
    )


def memory(field):
    """A figure of this process' memory in bytes, from Linux."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024


if __name__ == "__main__":
    main()
