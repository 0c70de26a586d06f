"""What exporting takes in memory, beside the converters alone.

    python benchmarks/exporting.py

Of the deployed form of RepVGG-B1, each in a fresh process: the growth of its
peak, by the size of the weights. Ours run each file and compare it with the
model.
"""

import gc
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["KERAS_BACKEND"] = "tensorflow"
import numpy as np
import tensorflow as tf
from deploying import memory

import keras_rep


def tflite(model, path):
    keras_rep.export_tflite(model, path)


def int8(model, path):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(4, *model.input_shape[1:])).astype("float32")
    keras_rep.export_tflite(
        model, path, quantization="int8", representative_data=data
    )


def tflite_alone(model, path):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    path.write_bytes(converter.convert())


def onnx(model, path):
    keras_rep.export_onnx(model, path)


def onnx_alone(model, path):
    # It wants a model that was called.
    model(np.zeros((1, *model.input_shape[1:])))
    model.export(path, format="onnx", verbose=False)


WAYS = {
    "export_tflite": (tflite, "net.tflite"),
    "export_tflite, int8": (int8, "net.tflite"),
    "TFLiteConverter alone": (tflite_alone, "net.tflite"),
    "export_onnx": (onnx, "net.onnx"),
    "Model.export alone, ONNX": (onnx_alone, "net.onnx"),
}


def measure(way):
    """Prints the growth of this process' peak, by the size of the weights."""
    export, name = WAYS[way]
    small = keras_rep.models.RepVGG("A0", input_shape=(32, 32, 3))
    small, model = (
        keras_rep.deploy(each, verify=False)
        for each in (small, keras_rep.models.RepVGG("B1"))
    )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        # What is slow or large the first time only.
        export(small, path)
        gc.collect()
        before = memory("VmRSS")
        # Writing 5 resets the peak to the present value.
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        export(model, path)
    size = sum(array.nbytes for array in model.get_weights())
    print((memory("VmHWM") - before) / size)


def main():
    for way in WAYS:
        command = [sys.executable, "-W", "ignore", __file__, way]
        run = subprocess.run(command, capture_output=True, check=True)
        extra = float(run.stdout.split()[-1])
        print(f"{way}: {extra:.1f} × the weights", flush=True)


if __name__ == "__main__":
    measure(sys.argv[1]) if sys.argv[1:] else main()
