"""Blocks on two devices with TensorFlow: what is the same as on one.

python examples/mirrored_strategy.py

Under `tf.distribute.MirroredStrategy`, here with two logical CPUs, every
replica runs the net on its share of the batch, and the gradients are averaged.
Normalizations see their own share only, those of Keras and those of the blocks
alike. So the training is that of one device which reads a batch in two parts
and averages the gradients. The moving statistics, of which a model keeps those
of the first replica, are others, and through them the deployed kernels.

With `synchronized=True`, as for `keras.layers.BatchNormalization`, they are
those of the whole batch, and everything is as on one device.
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import tensorflow as tf


def main(steps):
    # Before anything else asks TensorFlow for its devices.
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    from parallel import build, compare, fit, make_data

    x, y = make_data(steps)
    one = fit(build(), x, y)
    in_parts = fit(build(), x, y, parts=2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        two = fit(build(), x, y)
        synchronized = fit(build(synchronized=True), x, y)
    copies = {len(v.value.values) for v in two.variables}
    print(f"Copies of each weight: {copies}, after {steps} steps.")
    print("Largest relative differences:")
    compare(two, one, "Two replicas to one device")
    compare(two, in_parts, "Two replicas to one device, batch in two parts")
    compare(synchronized, one, "Two synchronized replicas to one device")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=16)
    main(**vars(parser.parse_args()))
