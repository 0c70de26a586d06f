"""The scripts for devices in `tflite/`, on the golden models that lie there.

vela and TFLM are extras of the package, and wheels that need no device.
"""

import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from arrays import randomize

import keras_rep
from keras_rep.layers import RepConv

WORKBENCH = pathlib.Path(__file__).parents[1] / "tflite"
GOLDEN = sorted((WORKBENCH / "golden").glob("*.tflite"))
sys.path.insert(0, str(WORKBENCH))

import benchmark  # noqa: E402
import check_micro  # noqa: E402
import check_npu  # noqa: E402
import convert  # noqa: E402
import tflite_file  # noqa: E402
from command_line import UserError  # noqa: E402

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="does not depend on the backend",
)


@pytest.fixture
def vela():
    pytest.importorskip("ethosu.vela", reason="the extra `npu` is missing")


@pytest.fixture
def tflm():
    pytest.importorskip("tflite_micro", reason="the extra `micro` is missing")


def golden(name):
    return WORKBENCH / "golden" / f"{name}.tflite"


def stored(path):
    """Inputs and outputs of a golden model, each a list for each sample."""
    archive = np.load(path.with_suffix(".npz"))
    ends = []
    for end in ("input", "output"):
        names = sorted(name for name in archive if name.startswith(end))
        columns = [archive[name] for name in names]
        ends.append(list(map(list, zip(*columns, strict=True))))
    return ends


def largest_step(received, expected):
    """Largest difference between the outputs of all samples."""
    return max(
        np.abs(x.astype(int) - y).max()
        for rows in zip(received, expected, strict=True)
        for x, y in zip(*rows, strict=True)
    )


# The golden models.


def test_there_are_golden_models_and_they_are_small():
    assert len(GOLDEN) >= 7
    sizes = [path.stat().st_size for path in GOLDEN]
    assert max(sizes) < 60_000
    archives = [path.with_suffix(".npz").stat().st_size for path in GOLDEN]
    assert sum(sizes) + sum(archives) < 400_000


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_litert_gives_the_stored_outputs(path):
    inputs, outputs = stored(path)

    received = tflite_file.run_reference(tflite_file.read(path), inputs)

    assert len(outputs) == 4
    assert largest_step(received, outputs) == 0
    # Outputs that hardly depend on the inputs would prove nothing.
    for column in zip(*outputs, strict=True):
        assert np.std(column, axis=0).mean() > 4


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_tflm_gives_the_stored_outputs(path, tflm):
    file = tflite_file.read(path)
    inputs, outputs = stored(path)

    received = check_micro.run_micro(file, inputs)

    # LiteRT alone rounds this operator in floating point, LiteRT issue 8567.
    kinds = {operator.kind for operator in file.operators}
    limit = 1 if "FULLY_CONNECTED" in kinds else 0
    assert largest_step(received, outputs) <= limit


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_npu_takes_every_operator(path, vela):
    result = check_npu.compile_for_npu(path)

    assert result.cpu_operators == ()
    assert result.npu_operators == len(tflite_file.read(path).operators)
    assert result.cycles > 0
    assert 0 < result.sram < 64 * 1024
    assert 0 < result.flash < path.stat().st_size


def test_the_table_in_the_readme_is_of_these_files(vela):
    import importlib.metadata

    readme = (WORKBENCH / "README.md").read_text()
    version = importlib.metadata.version("ethos-u-vela")
    if f"vela {version}" not in readme:
        pytest.skip(f"the table was not made with vela {version}")
    for path in GOLDEN:
        result = check_npu.compile_for_npu(path)
        (row,) = (x for x in readme.splitlines() if f"| `{path.stem}` |" in x)
        cells = [cell.rpartition("→")[2].strip() for cell in row.split("|")]
        assert cells[2:6] == [
            str(result.npu_operators),
            f"{result.cycles:,}",
            check_npu.kib(result.sram),
            check_npu.kib(result.flash),
        ]


# What the scripts find.


def net():
    image = keras.Input((8, 8, 3), name="image")
    x = RepConv(4, activation="relu", name="stem")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(5, name="score")(x))
    randomize(model)
    return model


@pytest.fixture(scope="module")
def float_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float")
    return keras_rep.export_tflite(net(), folder / "net.tflite")


@pytest.fixture(scope="module")
def float_ends(tmp_path_factory):
    """Integers inside, and real numbers in and out."""
    return keras_rep.export_tflite(
        net(),
        tmp_path_factory.mktemp("ends") / "net.tflite",
        quantization="int8",
        representative_data=np.linspace(0, 1, 384, dtype="float32").reshape(
            2, 8, 8, 3
        ),
        input_type="float32",
        output_type="float32",
    )


def test_what_stays_on_the_cpu_is_named(float_ends, vela, tmp_path):
    before = sorted(tmp_path.iterdir())

    result = check_npu.compile_for_npu(float_ends, "ethos-u85-256")

    assert [x.kind for x in result.cpu_operators] == ["QUANTIZE", "DEQUANTIZE"]
    assert "unsupported DataType Float32" in result.cpu_operators[0].reason
    assert result.cpu_operators[1].reason == "Unsupported opType"
    assert result.cpu_operators[1].layer == "score"
    assert result.npu_operators == 3
    assert result.accelerator == "ethos-u85-256"
    assert sorted(tmp_path.iterdir()) == before
    assert [path.name for path in float_ends.parent.iterdir()] == ["net.tflite"]


def test_vela_beside_the_form_before(float_file, vela, capsys):
    path = golden("qarep")
    accelerators = ["--accelerator", "ethos-u55-128", "ethos-u55-32"]
    code = check_npu.main(
        [str(path), "--before", str(float_file), "--json", *accelerators]
    )

    rows = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [row["path"] for row in rows] == [str(float_file), str(path)] * 2
    assert [x["layer"] for x in rows[0]["cpu_operators"]] == [
        "stem",
        "pool",
        "score",
    ]
    # A smaller NPU takes longer.
    assert rows[3]["cycles"] > rows[1]["cycles"]


def test_what_stays_on_the_cpu_makes_the_exit_code_1(float_file, vela, capsys):
    assert check_npu.main([str(float_file)]) == 1

    printed = capsys.readouterr().out
    assert "unsupported DataType Float32" in " ".join(printed.split())


def test_tflm_and_litert_agree_on_the_whole_range(tflm, capsys):
    assert check_micro.main([str(golden("dilated")), "--samples", "20"]) == 0

    printed = capsys.readouterr().out
    assert "operators: 5 CONV_2D" in printed
    assert "20 of 20 samples" in printed


def test_the_smallest_arena_is_the_smallest(tflm):
    file = tflite_file.read(golden("two_ends"))
    inputs, outputs = stored(golden("two_ends"))

    arena = check_micro.smallest_arena(file)

    assert 1024 < arena < 16 * 1024
    received = check_micro.run_micro(file, inputs, arena)
    assert largest_step(received, outputs) == 0
    with pytest.raises(UserError, match="arena of"):
        check_micro.run_micro(file, inputs, arena - check_micro.ALIGNMENT)


def test_the_first_difference_is_named(tflm, monkeypatch, capsys):
    """The reference gets another bias in the second layer."""
    path = golden("dilated")
    interpreter = tflite_file.reference_interpreter(path.read_bytes())
    (bias,) = (
        interpreter.get_tensor(x["index"])
        for x in interpreter.get_tensor_details()
        if x["name"].startswith("dbb_wide_1/") and x["dtype"] is np.int32
    )
    content = path.read_bytes().replace(bias.tobytes(), (bias + 99).tobytes())
    assert content != path.read_bytes()
    original = tflite_file.reference_interpreter
    monkeypatch.setattr(
        tflite_file,
        "reference_interpreter",
        lambda _, **options: original(content, **options),
    )

    assert check_micro.main([str(path), "--samples", "3"]) == 1

    assert "0 of 3 samples" in capsys.readouterr().out
    first = check_micro.compare(path, 1).first
    assert (first.kind, first.layer) == ("CONV_2D", "dbb_wide")
    assert first.tensor.startswith("dbb_wide_1/")
    assert first.count > 0
    assert first.largest > 0


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [
        ("stem_1/Relu;stem_1/BiasAdd", "stem"),
        ("conv2d_2_1/convolution", "conv2d_2"),
        ("block_1/conv_1/Relu;block_1/conv_1/convolution", "block/conv"),
        ("relu_1/Relu;conv_1/convolution", "relu"),
        ("up_1/Repeat_1/Tile", "up"),
        ("Stem_1/Relu", "Stem"),
        ("tfl.quantize", ""),
        ("PartitionedCall:0", ""),
    ],
)
def test_layers_in_the_names_of_tensors(tensor, layer):
    assert tflite_file.layer_of(tensor) == layer


def test_converting(tmp_path, capsys):
    model = net()
    model.save(tmp_path / "net.keras")
    data = np.random.default_rng(0).normal(size=(9, 8, 8, 3)).astype("float32")
    np.save(tmp_path / "data.npy", data)
    path = tmp_path / "net.tflite"

    options = ["--quantization", "int8", "--per-tensor"]
    samples = ["--data", str(tmp_path / "data.npy")]
    code = convert.main(
        [str(tmp_path / "net.keras"), str(path), *options, *samples]
    )

    assert code == 0
    assert f"{path.stat().st_size:,} bytes" in capsys.readouterr().out
    expected = keras_rep.export_tflite(
        model,
        tmp_path / "expected.tflite",
        quantization="int8",
        representative_data=data,
        per_tensor=True,
    )
    assert path.read_bytes() == expected.read_bytes()


def test_samples_for_several_inputs(tmp_path):
    arrays = {"left": np.ones((2, 3)), "right": np.zeros((2, 4))}
    np.savez(tmp_path / "data.npz", **arrays)

    received = convert.load_data(tmp_path / "data.npz")

    assert type(received) is dict
    assert list(received) == ["left", "right"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(received[name], array)


def test_benchmark(float_file, capsys):
    paths = [str(float_file), str(golden("two_ends"))]

    assert benchmark.main([*paths, "--rounds", "3"]) == 0

    printed = capsys.readouterr().out
    assert "net.tflite" in printed
    assert printed.count("µs") == 4
    # Both ratios of the first file.
    assert printed.count(" 1.00 ") >= 2


# Bad input: one line, and exit code 2.


def one_line(captured):
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert "Received" in line
    assert "Expected" in line
    return line


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.tflite"
    path.write_text("no model\n")
    return str(path)


@pytest.mark.parametrize("script", [check_npu, check_micro, benchmark])
def test_files_that_are_none(script, text, capsys):
    assert script.main([text]) == 2
    assert text in one_line(capsys.readouterr())

    assert script.main(["missing.tflite"]) == 2
    assert "no file" in one_line(capsys.readouterr())


@pytest.mark.parametrize("script", [check_npu, check_micro])
def test_half_a_file(script, tmp_path, capsys):
    path = tmp_path / "half.tflite"
    path.write_bytes(golden("qarep").read_bytes()[:2000])

    assert script.main([str(path)]) == 2
    assert "2000 bytes" in one_line(capsys.readouterr())


@pytest.mark.parametrize(
    ("script", "package", "remedy"),
    [
        (check_npu, "ethosu", "'keras-rep[npu]'"),
        (check_npu, "ai_edge_litert", "'keras-rep[tflite]'"),
        (check_micro, "tflite_micro", "'keras-rep[micro]'"),
        (check_micro, "ai_edge_litert", "'keras-rep[tflite]'"),
        (benchmark, "ai_edge_litert", "'keras-rep[tflite]'"),
    ],
)
def test_missing_packages(script, package, remedy, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)

    assert script.main([str(golden("qarep"))]) == 2
    assert f"pip install {remedy}" in one_line(capsys.readouterr())


def test_unknown_accelerators(vela, capsys):
    path = str(golden("qarep"))
    assert check_npu.main([path, "--accelerator", "ethos-u1"]) == 2
    assert "invalid choice: 'ethos-u1'" in one_line(capsys.readouterr())


def test_real_numbers_are_not_compared_bit_by_bit(float_file, capsys):
    assert check_micro.main([str(float_file)]) == 2
    line = one_line(capsys.readouterr())
    assert "of type float32" in line
    assert "--quantization int8" in line


def test_no_samples(capsys):
    path = str(golden("qarep"))
    assert check_micro.main([path, "--samples", "0"]) == 2
    assert "0 samples" in one_line(capsys.readouterr())


def test_an_operator_that_tflm_lacks(tflm, monkeypatch, capfd):
    """As it reports one on the error stream, before it gives up."""

    def refuse(*_, **__):
        print("Didn't find op for 'TILE'", file=sys.__stderr__, flush=True)
        raise RuntimeError("TFLM failed to allocate tensors")

    monkeypatch.setattr("tflite_micro.runtime.Interpreter.from_bytes", refuse)

    assert check_micro.main([str(golden("qarep"))]) == 2
    assert "Didn't find op for 'TILE'" in one_line(capfd.readouterr())
    os.write(2, b"The error stream is what it was.")
    assert capfd.readouterr().err == "The error stream is what it was."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.keras", "m.tflite"], "no .keras file"),
        (["text.tflite", "m.tflite"], "no .keras file"),
        (["net.keras", "m.onnx"], "ends in '.tflite'"),
        (["net.keras", "m.tflite", "--quantization", "int4"], "'int4'"),
        (["net.keras", "m.tflite", "--data", "missing.npy"], "missing.npy"),
        (["net.keras", "m.tflite", "--data", "text.tflite"], "numpy.save"),
        (["net.keras", "m.tflite", "--quantization", "int8"], "needs `repre"),
        (["strange.keras", "m.tflite"], "layers of Keras and keras_rep only"),
    ],
)
def test_converting_what_is_wrong(
    arguments, message, text, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    net().save("net.keras")
    strange = type("Strange", (keras.layers.Layer,), {"call": lambda _, x: x})
    keras.Sequential([keras.Input((4,)), strange()]).save("strange.keras")
    files = sorted(tmp_path.iterdir())

    assert convert.main(arguments) == 2
    assert message in one_line(capsys.readouterr())
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize("name", ["check_npu", "check_micro"])
def test_as_scripts_from_another_folder(name, tmp_path):
    child = subprocess.run(
        [sys.executable, str(WORKBENCH / f"{name}.py"), "missing.tflite"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert child.returncode == 2
    assert child.stdout == ""
    assert one_line(types.SimpleNamespace(err=child.stderr))
