"""LiteRT latency of the training form, fused by nobody, and deployed.

KERAS_BACKEND=tensorflow python benchmarks/inference.py
"""

import pathlib
import tempfile

import numpy as np
from nets import SMALL, classifier, rep_block

import keras_rep
from keras_rep.export.quantization import Quantization
from keras_rep.export.tflite import convert_tflite
from keras_rep.runtime import TFLiteRunner, latencies


def main():
    model = classifier(rep_block, SMALL, 32)
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name == "moving_variance":
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    samples = [generator.normal(size=(50, 32, 32, 3)).astype("float32")]
    plain = keras_rep.deploy(model)
    int8 = Quantization.of("int8")
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "training form": convert_tflite(model),
            "deployed": convert_tflite(plain),
            "training form int8": convert_tflite(model, int8, samples),
            "deployed int8": convert_tflite(plain, int8, samples),
        }
        paths = []
        for name, content in files.items():
            paths.append(pathlib.Path(folder, f"{name}.tflite"))
            paths[-1].write_bytes(content)
        times = [each.median for each in latencies(paths, rounds=200)]
        print("LiteRT, one thread, net small; ratio to the training form")
        for index, (path, seconds) in enumerate(zip(paths, times, strict=True)):
            ratio = seconds / times[index - index % 2]
            operations = TFLiteRunner(path).operations
            print(
                f"{path.stem:20} {ratio:.2f} ({seconds * 1e3:.2f} ms)  "
                + ", ".join(f"{n} {op}" for op, n in operations.items())
            )


if __name__ == "__main__":
    main()
