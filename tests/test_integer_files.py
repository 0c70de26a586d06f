"""Int8 files whose ranges are those that were asked for."""

import keras
import numpy as np
import pytest
from arrays import randomize
from backends import conversion
from keras import layers
from quantize_nets import NETS, chain, data_for, images, mobile

import keras_rep
from keras_rep.export import integers
from keras_rep.export.quantization import Quantization
from keras_rep.program import Program
from keras_rep.quantize import calibrate, fake_quantize, prepare
from keras_rep.quantize.file_checks import (
    check_kernels,
    check_scales,
    file_tensors,
    largest_deviations,
)
from keras_rep.quantize.scales import Scale
from keras_rep.quantize.sites import find_sites
from keras_rep.runtime import TFLiteRunner


def export(model, folder, **options):
    path = folder / "net.tflite"
    return keras_rep.export_tflite(model, path, quantization="int8", **options)


def scales_in(path, model):
    """Scale and zero point of each range of a prepared model, in its file."""
    runner = TFLiteRunner(path)
    program = Program(model)
    names = file_tensors(runner, program)
    parameters = runner.tensor_parameters
    return {
        site.name: {
            parameters[names[tensor]][1:]
            for tensor in site.tensors
            if tensor in names
        }
        for site in find_sites(program).values()
    }


@conversion
@pytest.mark.parametrize("per_tensor", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_files_have_the_ranges_that_were_asked_for(name, per_tensor, tmp_path):
    """Numbers that no calibration would find."""
    model = NETS[name]()
    rng = np.random.default_rng(3)
    ranges = {
        name: [low * rng.uniform(1, 2), high * rng.uniform(1, 2)]
        for name, (low, high) in calibrate(model, data_for(model)).items()
    }

    path = export(model, tmp_path, ranges=ranges, per_tensor=per_tensor)

    prepared = prepare(model)
    found = scales_in(path, prepared)
    inputs = {x.name for x in prepared.inputs}
    for site, limits in ranges.items():
        asked = Scale.of(*limits)
        if site in inputs:
            found[site] = {TFLiteRunner(path).parameters[site]}
        assert found[site], site
        for step, zero_point in found[site]:
            np.testing.assert_allclose(step, asked.step, rtol=2e-6)
            assert zero_point == asked.zero_point
    operations = TFLiteRunner(path).operations
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(operations)
    if per_tensor:
        check_kernels(TFLiteRunner(path))
    else:
        with pytest.raises(keras_rep.DeployError, match="each channel"):
            check_kernels(TFLiteRunner(path))


@conversion
@pytest.mark.parametrize(
    ("gate", "activation"),
    [
        ("sigmoid", "hard_silu"),
        ("hard_sigmoid", "silu"),
        ("tanh", "gelu"),
        ("hard_sigmoid", "leaky_relu"),
        ("sigmoid", "relu6"),
    ],
)
def test_activations_are_integers(gate, activation, tmp_path):
    model = mobile(gate, activation)
    data = images()

    path = export(model, tmp_path, representative_data=data)

    # `verify` has compared every operation with its layer. Eight bits leave 40
    # dB of a tensor; some 15 operations and the margin of the outputs cost 10.
    result = keras_rep.check(path, model, data)
    assert min(result.snr_db.values()) > 20
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(result.runtime_ops)


def form_and_file(model, data):
    form = integers.make_form(model, data, None, False)
    names = keras_rep.graph.output_names(model)
    content, _ = integers.convert_form(
        form, Quantization.of("int8"), [data], names, 1
    )
    return form, content


@conversion
def test_every_operation_is_within_one_of_its_layer():
    model, data = mobile(), images()
    form, content = form_and_file(model, data)

    runner = TFLiteRunner(content, delegates=False, keeps_tensors=True)
    found = largest_deviations(
        runner, form.model, form.ranges, {"image": data[:8]}
    )

    assert set(found.values()) <= {0, 1}
    # Every operation of the file was compared.
    assert len(found) == sum(runner.operations.values())


@conversion
def test_a_wrong_operation_would_be_found():
    model, data = mobile(), images()
    form, content = form_and_file(model, data)
    layer = form.model.get_layer("grouped")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * 1.02, bias])

    with pytest.raises(keras_rep.DeployError, match="'grouped'"):
        integers.check_operations(content, form, [data])


@conversion
def test_a_wrong_range_would_be_found():
    model, data = mobile(), images()
    form, content = form_and_file(model, data)
    low, high = form.ranges["project"]
    other = {**form.ranges, "project": [low, high * 1.00001]}

    with pytest.raises(keras_rep.DeployError, match="range of 'project'"):
        check_scales(TFLiteRunner(content), form.model, other)


def test_the_deployed_model_is_compared_first(tmp_path):
    """A layer that is random in inference mode cannot be deployed as it is."""

    class Noisy(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.generator = keras.random.SeedGenerator()

        def call(self, inputs):
            return inputs + keras.random.normal(
                keras.ops.shape(inputs), seed=self.generator
            )

    inputs = keras.Input((6, 6, 4), name="image")
    model = keras.Model(inputs, Noisy(name="noisy")(inputs))

    with pytest.raises(keras_rep.DeployError, match="differs from the model"):
        export(model, tmp_path, representative_data=images(8, size=(6, 6, 4)))
    assert not list(tmp_path.iterdir())


@conversion
def test_edited_ranges_count(tmp_path):
    model, data = mobile(), images()
    ranges = calibrate(model, data)
    ranges["score"] = [-100.0, 100.0]

    path = export(model, tmp_path, ranges=ranges)

    step, _ = TFLiteRunner(path).parameters["score"]
    np.testing.assert_allclose(step, 200 / 255, rtol=2e-6)


@conversion
@pytest.mark.parametrize("weights", ["per_channel", "per_tensor"])
def test_trained_rounding_is_that_of_the_file(weights, tmp_path):
    model, data = mobile(), images()
    rounded = fake_quantize(model, calibrate(model, data), weights=weights)
    rounded.compile(keras.optimizers.Adam(1e-3), ["mse", "mse"])
    targets = [x + 0.1 for x in model.predict(data, verbose=0)]
    rounded.fit(data, targets, epochs=2, verbose=0)

    path = export(rounded, tmp_path)

    result = keras_rep.check(path, rounded, images(200, seed=9))
    # A value between two integers may go either way, in every layer.
    assert min(result.snr_db.values()) > 30
    assert result.top1_agreement["score"] >= 0.97
    if weights == "per_tensor":
        check_kernels(TFLiteRunner(path))


def test_every_backend_exports_what_it_trained(tmp_path):
    """In a child process where need be."""
    model, data = chain("relu"), images()
    rounded = fake_quantize(model, calibrate(model, data))

    path = export(rounded, tmp_path)

    result = keras_rep.check(path, rounded, images(200, seed=9))
    assert result.snr_db["score"] > 35
    assert result.top1_agreement["score"] >= 0.97


@conversion
def test_layers_can_stay_in_floating_point(tmp_path):
    model, data = mobile(), images()
    ranges = calibrate(model, data)
    rounded = fake_quantize(
        model, ranges, skip=["grouped", "grouped_hard_silu"]
    )

    path = export(rounded, tmp_path)

    result = keras_rep.check(path, rounded, data)
    assert min(result.snr_db.values()) > 25
    assert "DEQUANTIZE" in result.runtime_ops


def unusual():
    inputs = keras.Input((6, 6, 4), name="image")
    x = layers.Conv2D(4, 3, activation="elu", name="elu")(inputs)
    x = layers.Flatten(name="flat")(x)
    model = keras.Model(inputs, layers.Dense(3, name="score")(x))
    randomize(model)
    return model


@conversion
def test_layers_of_several_operations_are_said(tmp_path):
    model, data = unusual(), images(size=(6, 6, 4))

    with pytest.warns(UserWarning, match="converter calibrates"):
        path = export(model, tmp_path, representative_data=data)
    assert keras_rep.check(path, model, data).snr_db["score"] > 20


@conversion
def test_without_data_such_layers_are_refused(tmp_path):
    model = unusual()
    ranges = calibrate(model, images(size=(6, 6, 4)))

    with pytest.raises(keras_rep.DeployError, match="in floating point"):
        export(model, tmp_path, ranges=ranges)
    assert not list(tmp_path.iterdir())


def wrong_arguments():
    model, data = chain(), images(8)
    ranges = calibrate(model, data)
    rounded = fake_quantize(model, ranges)
    fine = fake_quantize(model, ranges, bits=16)
    int8, both = {"quantization": "int8"}, {"ranges": ranges}
    some = {"representative_data": data}
    return [
        (model, {**int8, **both, **some}, "of no use"),
        (model, both, "of no use"),
        (model, {**both, "quantization": "int16x8"}, "of no use"),
        (model, {**int8, "ranges": {}}, "none for"),
        (model, {**int8, "ranges": {**ranges, "x": [0, 1]}}, "'x'"),
        (rounded, {**int8, **some}, "has ranges already"),
        (rounded, {**int8, **both}, "has ranges already"),
        (rounded, {}, "rounds already"),
        (rounded, {"quantization": "dynamic"}, "rounds already"),
        (fine, int8, "rounds already"),
    ]


def test_arguments_must_fit(tmp_path):
    for model, options, message in wrong_arguments():
        with pytest.raises(ValueError, match=message):
            keras_rep.export_tflite(model, tmp_path / "net.tflite", **options)
    assert not list(tmp_path.iterdir())


@conversion
def test_float_inputs_and_outputs(tmp_path):
    model, data = mobile(), images()

    path = export(
        model,
        tmp_path,
        representative_data=data,
        input_type="uint8",
        output_type="float32",
        batch_size=4,
    )

    runner = TFLiteRunner(path)
    assert runner.batch_size == 4
    assert runner.operations["QUANTIZE"] == 1
    assert runner.operations["DEQUANTIZE"] == 2
    assert min(keras_rep.check(path, model, data).snr_db.values()) > 20
