"""A training step of every block, against the block written by hand.

Prints time as ratios to the plain convolution and to the hand-written form,
and the memory of one step. Run once for each backend:

    KERAS_BACKEND=jax python benchmarks/blocks.py --net resnet18
"""

import argparse
import multiprocessing
import os
import pathlib

import hand_written
import keras
import numpy as np
from deploying import memory
from interleaved import measure, ratio
from keras import ops
from nets import RESNET18, SMALL, classifier

from keras_rep import layers

NETS = {
    "small": {"blocks": SMALL, "size": 32, "batch": 64},
    "resnet18": {"blocks": RESNET18, "size": 64, "batch": 16},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=NETS, default="small")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-memory", action="store_true")
    names = list(hand_written.FORMS)
    parser.add_argument("--blocks", nargs="*", choices=names, default=names)
    arguments = parser.parse_args()
    net = arguments.net
    print(
        f"{keras.backend.backend()}, net {net}: training step\n"
        f"{'':15} time/plain  time/hand  memory/plain  hand/plain"
    )
    least = None if arguments.no_memory else step_memory(net, "plain")
    for name in arguments.blocks:
        forms = ["plain", f"hand {name}", name]
        steps = {form: make_step(net, form)[0] for form in forms}
        times = measure(steps, arguments.rounds, 1)
        row = [
            ratio(times[name], times["plain"]),
            ratio(times[name], times[f"hand {name}"]),
        ]
        if least:
            row += [step_memory(net, form) / least for form in (name, forms[1])]
        print(f"{name:15} " + "  ".join(f"{value:9.2f}" for value in row))


def make_step(net, form):
    """A function that trains one step, and the model behind it."""
    net = NETS[net]
    model = classifier(block_of(form), net["blocks"], net["size"])
    generator = np.random.default_rng(0)
    shape = (net["batch"], net["size"], net["size"], 3)
    images = ops.convert_to_tensor(generator.normal(size=shape), "float32")
    labels = ops.convert_to_tensor(generator.integers(0, 10, net["batch"]))
    return lambda: float(model.train_on_batch(images, labels)), model


def block_of(form):
    if form == "plain":
        return hand_written.plain
    if form.startswith("hand "):
        return hand_written.FORMS[form.removeprefix("hand ")]

    def block(x, filters, strides=1):
        layer = getattr(layers, form)
        return layer(filters, strides=strides, activation="relu")(x)

    return block


def step_memory(net, form):
    """Bytes that a training step takes beyond the state of the model."""
    if keras.backend.backend() == "jax":
        return _compiled_memory(net, form)
    # A process of its own, whose allocator gives freed blocks back at once.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (net, form))


def _peak_memory(net, form):
    step, _ = make_step(net, form)
    # Compiling takes memory, too.
    for _ in range(2):
        step()
    before = memory("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    for _ in range(3):
        step()
    return memory("VmHWM") - before


def _compiled_memory(net, form):
    import jax

    _, model = make_step(net, form)
    net = NETS[net]
    shape = (net["batch"], net["size"], net["size"], 3)
    images, labels = np.zeros(shape, "float32"), np.zeros(net["batch"], int)

    def loss(trainable, rest, images, labels):
        outputs, rest = model.stateless_call(
            trainable, rest, images, training=True
        )
        return model.compute_loss(images, labels, outputs), rest

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    state = [
        [v.value for v in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
        )
    ]
    compiled = step.lower(*state, images, labels).compile()
    return compiled.memory_analysis().temp_size_in_bytes


if __name__ == "__main__":
    main()
