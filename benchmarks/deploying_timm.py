"""Deploying RepVGG-B3 beside timm's `reparameterize_model`, on PyTorch.

    python benchmarks/deploying_timm.py

timm fuses a model in place, or a copy of it; `keras_rep.deploy` makes a new
model and leaves the old one as it is. Times are of runs that took turns in one
process, extra memory is the growth of a fresh process' peak.
"""

import argparse
import gc
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ["KERAS_BACKEND"] = "torch"
# PyTorch must be imported before TensorFlow, which Keras imports where it can.
import torch

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests"))
import timm_models

# Each is a function that makes a model, and one that deploys it.
WAYS = ("keras_rep", "timm in place", "timm of a copy")


def prepare(way):
    """Makes the model. Returns the function that deploys it."""
    if way == "keras_rep":
        import keras_rep

        model = keras_rep.models.RepVGG("B3")
        for variable in model.weights:
            if variable.name == "moving_variance":
                variable.assign(variable + 0.5)
        # Keras imports TensorFlow, where there is one, at the first
        # serialization.
        small = keras_rep.models.RepVGG("A0", input_shape=(32, 32, 3))
        keras_rep.deploy(small, verify=False)
        del small
        return lambda: keras_rep.deploy(model, verify=False)
    model = timm_models.create("repvgg_b3")
    from timm.utils import reparameterize_model

    # What is slow or large the first time only, as above.
    reparameterize_model(timm_models.create("repvgg_a0"))
    in_place = way == "timm in place"
    # Without this it would record gradients.
    return torch.no_grad()(lambda: reparameterize_model(model, in_place))


def measure_memory(way):
    """Prints the growth of this process' peak in bytes."""
    from deploying import memory

    deploy = prepare(way)
    gc.collect()
    before = memory("VmRSS")
    # Writing 5 resets the peak to the present value.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    deployed = deploy()
    print(memory("VmHWM") - before)
    return deployed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        measure_memory(arguments.memory)
        return
    torch.set_num_threads(2)
    # timm's model is spent once it is fused, so each round makes new ones.
    timm_models.create("repvgg_a0")
    times = {way: [] for way in WAYS}
    for number in range(arguments.rounds):
        for way in WAYS if number % 2 else reversed(WAYS):
            deploy = prepare(way)
            gc.collect()
            start = time.perf_counter()
            deploy()
            times[way].append(time.perf_counter() - start)
            del deploy
    size = 123_085_288 * 4
    for way in WAYS:
        command = [sys.executable, __file__, "--memory", way]
        run = subprocess.run(command, capture_output=True, check=True)
        extra = int(run.stdout.split()[-1]) / size
        pairs = zip(times["keras_rep"], times[way], strict=True)
        ratio = statistics.median(ours / its for ours, its in pairs)
        print(
            f"{way}: {statistics.median(times[way]):.2f} s, keras_rep takes "
            f"{ratio:.2f} of that; extra memory {extra:.2f} × the model",
            flush=True,
        )


if __name__ == "__main__":
    main()
