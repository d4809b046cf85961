"""Layers that lose the most in 8 bits are recognised, and go back to float32."""

import numpy as np
import onnx
import pytest
import torch
from support.sensitive_models import mlp_and_data

from limbeck.deploy import mixed_precision
from limbeck.deploy.mixed_precision import MixedPrecision, layers_of
from limbeck.deploy.onnx_export import to_onnx
from limbeck.models import MLP, TextEncoder


@pytest.fixture(scope="module")
def sensitive():
    """An MLP whose third layer is useless in 8 bits, as an ONNX model, and its data."""
    model, data = mlp_and_data()
    return to_onnx(model, data.train.inputs[:2]), data


def ignore(done, note=""):
    pass


def float_weights(content):
    """Shapes of the weight matrices that an ONNX model has in float32."""
    tensors = onnx.load_from_string(content).graph.initializer
    is_float = onnx.TensorProto.FLOAT
    return sorted(tuple(t.dims) for t in tensors if t.data_type == is_float and len(t.dims) == 2)


def test_every_operator_belongs_to_one_layer(sensitive):
    model, _ = sensitive
    layers = layers_of(model)
    assert [layer.name for layer in layers] == ["layers.1", "layers.3", "layers.5", "layers.7"]
    names = [name for layer in layers for name in layer.nodes]
    assert len(set(names)) == len(names)
    assert {node.name for node in model.graph.node} <= set(names)


@pytest.mark.slow
def test_layers_of_an_encoder_have_the_names_of_pytorch():
    encoder = TextEncoder((8,), 4, vocabulary=20, width=16, layers=1)
    layers = layers_of(to_onnx(encoder, torch.ones(2, 8, dtype=torch.int32)))
    names = ["tokens", "blocks.0.qkv", "blocks.0.out", "blocks.0.up", "blocks.0.down", "head"]
    assert [layer.name for layer in layers] == names


def test_the_layer_that_loses_the_most_stays_in_float32(sensitive, tmp_path):
    model, data = sensitive
    notes = []
    search = MixedPrecision(
        model, data, 0.001, tmp_path, lambda done, note: notes.append((done, note))
    )
    first = next(search.candidates())
    assert first.float_layers == ("layers.5",)
    assert (first.layers, first.tried) == (4, 1)
    assert len(first.content) < model.ByteSize()
    assert next(note for _, note in notes) == "layers.1 in 8 bits"
    done = [done for done, _ in notes]
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] <= 1


def test_only_the_layers_that_are_named_stay_in_float32(sensitive, tmp_path):
    model, data = sensitive
    search = MixedPrecision(model, data, 0.001, tmp_path, ignore)
    first, second = search.candidates()
    assert float_weights(first.content) == [(32, 32)]
    assert len(second.float_layers) == len(float_weights(second.content)) == second.tried
    assert second.float_layers[:1] == first.float_layers


def test_the_second_model_makes_no_additional_error_on_validation(sensitive, tmp_path, monkeypatch):
    shares = []

    class Gate:
        def __init__(self, share):
            self.share = share

        def check_similar(self, name, outputs, reference):
            shares.append(self.share)
            return type("Stage", (), {"passed": len(shares) != 2})

    def gate_of(data, split, *, share):
        assert split is data.val
        return Gate(share)

    monkeypatch.setattr(mixed_precision, "gate_of", gate_of)
    model, data = sensitive
    models = list(MixedPrecision(model, data, 0.3, tmp_path, ignore).candidates())
    assert shares == [0.3, 0, 0]
    assert [len(model.float_layers) for model in models] == [1, 3]


def test_the_search_ends_in_time(sensitive, tmp_path, monkeypatch):
    monkeypatch.setattr(mixed_precision, "SECONDS", 0)
    model, data = sensitive
    assert list(MixedPrecision(model, data, 0.001, tmp_path, ignore).candidates()) == []


def test_the_test_split_is_not_used(sensitive, tmp_path, monkeypatch):
    def refuse(self):
        raise AssertionError("the test split was opened")

    model, data = sensitive
    monkeypatch.setattr(type(data), "open_test", refuse)
    assert next(MixedPrecision(model, data, 0.001, tmp_path, ignore).candidates())


def test_a_single_layer_leaves_nothing_to_choose(tmp_path):
    _, data = mlp_and_data()
    model = to_onnx(MLP((20,), 3, hidden=[]), data.train.inputs[:2])
    assert list(MixedPrecision(model, data, 0.001, tmp_path, ignore).candidates()) == []
    assert np.prod(data.shape) == 20
