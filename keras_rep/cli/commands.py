"""The commands: each a function from the parsed options to an `Outcome`."""

import collections
import dataclasses
import functools
import math
import pathlib

import keras

import keras_rep
from keras_rep.cli.data import Normalization, load_samples
from keras_rep.cli.loading import load_model
from keras_rep.cli.output import (
    Outcome,
    check_output,
    draw,
    save_atomically,
    width,
)
from keras_rep.cli.process import check_backend
from keras_rep.export.quantization import CALIBRATED
from keras_rep.rules import DEFAULT_RULES
from keras_rep.runtime import latencies, peak_memory

TFLITE, ONNX = ".tflite", ".onnx"
# Options of `export` that mean something in one kind of file only.
ONLY_FOR = {
    TFLITE: (
        *("quantization", "data", "per_tensor", "input_type", "output_type"),
        "select_ops",
    ),
    ONNX: ("opset",),
}


def explain(options):
    """Says what `deploy` does with each layer of a model."""
    rules = _rules(options)
    model = load_model(options.model, options.custom)
    report = keras_rep.explain(model, rules=rules)
    data = dataclasses.asdict(report) | {
        "parameters": report.parameters,
        "multiply_adds": report.multiply_adds,
    }
    return Outcome(data, report.render(width()).rstrip("\n"))


def deploy(options):
    """Writes the deployed form of a model."""
    rules = _rules(options)
    path = check_output(options.out, ".keras", force=options.force)
    model = load_model(options.model, options.custom)
    plain = keras_rep.deploy(model, rules=rules)
    save_atomically(plain, path)
    data = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "layers": [len(model.layers), len(plain.layers)],
        "parameters": [model.count_params(), plain.count_params()],
    }
    rows = [
        [name, *(f"{number:,}" for number in data[name])]
        for name in ("layers", "parameters")
    ]
    table = draw(f"Deployment of '{model.name}'", ["", "before", "after"], rows)
    return Outcome(data, f"{table}\n{_written(data)}")


def export(options):
    """Writes a TFLite or an ONNX file of a model."""
    if options.from_backend is not None:
        check_backend(options.from_backend)
    suffix = _checked_suffix(options)
    path = check_output(options.out, suffix, force=options.force)
    model = load_model(options.model, options.custom)
    write = _export_tflite if suffix == TFLITE else _export_onnx
    write(model, path, options)
    data = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "quantization": options.quantization,
        "backend": keras.backend.backend(),
    }
    return Outcome(data, _written(data))


def check(options):
    """Compares a file, on its runtime, with a model."""
    model = load_model(options.model, options.custom)
    result = keras_rep.check(
        options.file, model, _samples(model, options), layers=options.layers
    )
    text = result.render(width()).rstrip("\n")
    return Outcome(dataclasses.asdict(result), text)


def bench(options):
    """Measures how long TFLite files take, and how much memory."""
    for file in options.files:
        _check_tflite(file)
    chosen = {} if options.rounds is None else {"rounds": options.rounds}
    times = latencies(options.files, num_threads=options.threads, **chosen)
    files = [
        {
            "file": time.path,
            "bytes": pathlib.Path(time.path).stat().st_size,
            "median_seconds": time.median,
            "low_seconds": time.low,
            "high_seconds": time.high,
            "peak_memory_bytes": peak_memory(time.path, options.threads),
        }
        for time in times
    ]
    columns = ["file", "size", "latency", "quartiles", "memory"]
    rows = [
        [
            each["file"],
            _kibibytes(each["bytes"]),
            _microseconds(each["median_seconds"]),
            f"{_microseconds(each['low_seconds'])} to "
            f"{_microseconds(each['high_seconds'])}",
            _kibibytes(each["peak_memory_bytes"]),
        ]
        for each in files
    ]
    title = f"On LiteRT, threads: {options.threads}"
    data = {"threads": options.threads, "files": files}
    return Outcome(data, draw(title, columns, rows))


def report(options):
    """Writes a page about a model and its files."""
    path = check_output(options.out, ".html", force=options.force)
    for file in options.files:
        _check_tflite(file)
    model = load_model(options.model, options.custom)
    files = _labelled(options.files)
    keras_rep.write_report(model, path, files=files or None)
    data = {"file": str(path), "bytes": path.stat().st_size, "measured": files}
    return Outcome(data, _written(data))


COMMANDS = {
    "explain": explain,
    "deploy": deploy,
    "export": export,
    "check": check,
    "bench": bench,
    "report": report,
}


def _rules(options):
    """The rules that were chosen; `None` for those of `deploy`."""
    if not options.remove_residuals:
        if options.max_growth is not None:
            raise ValueError(
                "--max-growth is of no use here. Received: --max-growth "
                f"{options.max_growth:g}. Expected it with --remove-residuals "
                "only. Pass both, or none."
            )
        return None
    removal = functools.partial(
        keras_rep.rules.remove_residuals,
        max_growth=options.max_growth or math.inf,
    )
    return [*DEFAULT_RULES, removal]


def _checked_suffix(options):
    """The kind of file to export, if it goes together with the options."""
    suffix = pathlib.Path(options.out).suffix
    if suffix not in ONLY_FOR:
        raise ValueError(
            f"Unknown kind of file. Received: '{options.out}'. Expected a name "
            "that ends in '.tflite' or '.onnx'. Choose one of them."
        )
    for kind, names in ONLY_FOR.items():
        given = [name for name in names if getattr(options, name)]
        if kind != suffix and given:
            flags = ", ".join(_flag(options, name) for name in given)
            raise ValueError(
                f"Options of another kind of file. Received: {flags} for "
                f"'{options.out}'. Expected them for {kind} files only. Leave "
                "them out."
            )
    needs_data = options.quantization in CALIBRATED
    if needs_data and options.data is None:
        raise ValueError(
            f"--{options.quantization} needs data. Received: no --data. "
            "Expected samples, from which the ranges of the activations are "
            "read. Pass `--data` with some hundred samples, preprocessed as "
            "for training."
        )
    if options.data is not None and not needs_data:
        raise ValueError(
            f"--data is of no use here. Received: --data {options.data}. "
            "Expected it with --int8 or --int16x8 only. Pass one of these, or "
            "leave the data out."
        )
    return suffix


def _flag(options, name):
    """What a user wrote for an option that has a value."""
    if name == "quantization":
        return f"--{options.quantization}"
    return f"--{name.replace('_', '-')}"


def _export_tflite(model, path, options):
    samples = None if options.data is None else _samples(model, options)
    keras_rep.export_tflite(
        model,
        path,
        quantization=options.quantization,
        representative_data=samples,
        per_tensor=options.per_tensor,
        input_type=options.input_type,
        output_type=options.output_type,
        batch_size=options.batch_size or 1,
        select_ops=options.select_ops,
        as_is=options.as_is,
        verify=not options.no_verify,
    )


def _export_onnx(model, path, options):
    chosen = {} if options.opset is None else {"opset": options.opset}
    keras_rep.export_onnx(
        model,
        path,
        batch_size=options.batch_size,
        as_is=options.as_is,
        verify=not options.no_verify,
        **chosen,
    )


def _samples(model, options):
    normalization = Normalization(options.scale, options.mean, options.std)
    return load_samples(options.data, model, normalization, options.limit)


def _check_tflite(file):
    path = pathlib.Path(file)
    if path.suffix != TFLITE or not path.is_file():
        received = "no such file" if path.suffix == TFLITE else "another kind"
        raise ValueError(
            f"Cannot measure '{path}'. Received: {received}. Expected a "
            ".tflite file. Write one with `keras-rep export`."
        )


def _labelled(files):
    """Dictionary from short names to the names of files."""
    stems = collections.Counter(pathlib.Path(file).stem for file in files)
    return {
        file
        if stems[pathlib.Path(file).stem] > 1
        else pathlib.Path(file).stem: file
        for file in files
    }


def _written(data):
    return f"Wrote {data['file']} ({_kibibytes(data['bytes'])})."


def _kibibytes(count):
    return f"{count / 1024:,.0f} KiB"


def _microseconds(seconds):
    return f"{seconds * 1e6:,.0f} µs"
