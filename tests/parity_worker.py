"""A process of its own for `test_parity.py`: one backend, one task."""

import json
import pathlib
import sys

import keras
import numpy as np


def deploy(folder):
    """Deploys a net whose weights depend on no backend."""
    from arrays import randomize
    from cases import CASES
    from test_export_tflite import net

    import keras_rep

    model = net()
    randomize(model)
    plain = keras_rep.deploy(model)
    plain.save(folder / "plain.keras")
    keras_rep.export_tflite(model, folder / "plain.tflite")
    keras_rep.export_tflite(
        model,
        folder / "int8.tflite",
        quantization="int8",
        representative_data=samples(),
    )
    ranges = keras_rep.quantize.calibrate(model, samples())
    (folder / "ranges.json").write_text(json.dumps(ranges))
    keras_rep.export_onnx(model, folder / "plain.onnx")
    arrays = {
        f"net/{index}": array for index, array in enumerate(plain.get_weights())
    }
    for case in CASES:
        layer = case.make()
        layer.build((None, 9, 8, case.channels))
        randomize(layer)
        weights = [w for each in layer.get_deploy_weights() for w in each]
        for index, array in enumerate(weights):
            arrays[f"{case}/{index}"] = array
    np.savez(folder / "kernels.npz", **arrays)


def run(folder):
    """Runs a deployed file, knowing nothing of keras_rep."""
    model = keras.models.load_model(folder / "plain.keras")
    assert "keras_rep" not in sys.modules
    assert not any("keras_rep" in str(type(x)) for x in model.layers)
    np.save(folder / "outputs.npy", model.predict(samples(), verbose=0))


def samples():
    rng = np.random.default_rng(5)
    return rng.normal(size=(4, 12, 12, 4)).astype("float32")


if __name__ == "__main__":
    {"deploy": deploy, "run": run}[sys.argv[1]](pathlib.Path(sys.argv[2]))
