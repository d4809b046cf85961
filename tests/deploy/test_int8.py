"""The 8-bit model keeps layers in float32 if its gate refuses it otherwise, or is left out."""

from dataclasses import replace

import pytest
from support.sensitive_models import convnet_and_data, mlp_and_data

from limbeck.deploy import int8
from limbeck.deploy.int8 import FLOAT, MIXED, WHOLE, FloatLayers, convert_to_int8
from limbeck.deploy.onnx_export import onnx_logits, to_onnx


def ignore(done, note=""):
    pass


@pytest.fixture(scope="module")
def sensitive():
    """An MLP whose third layer is useless in 8 bits, as an ONNX model, its outputs and data."""
    return converted(*mlp_and_data())


def converted(network, data):
    model = to_onnx(network, data.train.inputs[:2])
    inputs = data.open_test().inputs
    return model, onnx_logits(model.SerializeToString(), "fp32", inputs, data.output_names), data


def test_a_layer_goes_back_to_float32_until_the_gate_holds(sensitive, tmp_path):
    model, reference, data = sensitive
    result = convert_to_int8(model, reference, data, 0.001, tmp_path, ignore)
    layers = result.float_layers
    assert result.stage.passed
    assert result.content is not None
    assert layers.names == ("layers.5",)
    assert layers.bytes[WHOLE] < layers.bytes[MIXED] == len(result.content) < layers.bytes[FLOAT]
    assert min(layers.milliseconds.values()) > 0
    assert "1 of 4 layers stay in float32 (layers.5)" in result.note
    assert "more errors, 5 are allowed" in layers.reason
    paragraph, table = layers.for_card()
    assert "layers.5. They were chosen on the validation split" in paragraph
    assert table.count("\n") == 4


@pytest.mark.slow
def test_convolutions_go_back_to_float32(tmp_path):
    model, reference, data = converted(*convnet_and_data())
    result = convert_to_int8(model, reference, data, 0.001, tmp_path, ignore)
    assert result.stage.passed
    assert sorted(result.float_layers.names) == ["features.0", "features.3"]


def test_a_model_that_gains_nothing_is_left_out(sensitive, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "MAX_GAIN", 0.0)
    model, reference, data = sensitive
    result = convert_to_int8(model, reference, data, 0.001, tmp_path, ignore)
    assert result.content is result.float_layers is None
    assert not result.stage.passed
    assert "leaves hardly anything in 8 bits" in result.note
    assert "would have to be in float32" in result.note


def test_a_model_that_no_layer_saves_is_left_out(sensitive, tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.deploy.mixed_precision.SECONDS", 0)
    model, reference, data = sensitive
    result = convert_to_int8(model, reference, data, 0.001, tmp_path, ignore)
    assert result.content is None
    assert "Keeping layers in float32 does not help enough" in result.note


def test_the_test_split_is_asked_three_times_at_most(sensitive, tmp_path, monkeypatch):
    names = []

    class Gate:
        def check_similar(self, name, outputs, reference):
            names.append(name)
            return replace(stage, failures=("too many",))

    model, reference, data = sensitive
    stage = convert_to_int8(model, reference, data, 1.0, tmp_path, ignore).stage
    monkeypatch.setattr(int8, "gate_of", lambda data, split, share: Gate())
    result = convert_to_int8(model, reference, data, 0.001, tmp_path, ignore)
    assert result.content is None
    assert names == ["onnx int8"] * 3


@pytest.mark.parametrize(
    ("size", "milliseconds", "expected"),
    [(90, 1.0, True), (91, 0.9, True), (91, 0.91, False), (120, 0.5, True), (40, 2.0, True)],
)
def test_a_model_is_worthwhile_if_it_is_smaller_or_faster(size, milliseconds, expected):
    layers = FloatLayers(
        ("a",),
        3,
        "too many errors",
        {FLOAT: 100, WHOLE: 30, MIXED: size},
        {FLOAT: 1.0, WHOLE: 0.4, MIXED: milliseconds},
        1,
    )
    assert layers.is_worthwhile is expected
