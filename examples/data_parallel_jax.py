"""Blocks on two devices with JAX: the same net as on one.

python examples/data_parallel_jax.py

`keras.distribution.DataParallel` shares the batch out over devices, here two
that JAX makes of the CPU. A step is one program for the whole batch, and XLA
adds what the devices have. So the batch statistics of every normalization are
those of the whole batch, and the gradients as well: what differs is rounding.
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax


def main(steps):
    # Before anything else asks JAX for its devices.
    jax.config.update("jax_num_cpu_devices", 2)
    import keras
    from parallel import build, compare, fit, make_data

    x, y = make_data(steps)
    one = fit(build(), x, y)
    distribution = keras.distribution.DataParallel(devices=jax.devices("cpu"))
    keras.distribution.set_distribution(distribution)
    two = fit(build(), x, y)
    (shards,) = {len(v.value.sharding.device_set) for v in two.variables}
    print(f"The weights lie on {shards} devices, after {steps} steps.")
    compare(two, one, "Two devices to one, largest relative difference")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=16)
    main(**vars(parser.parse_args()))
