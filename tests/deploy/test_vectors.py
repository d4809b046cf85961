"""The gate of exported models of embeddings."""

import numpy as np
import pytest
import torch
from support.tensors import randn

from limbeck.deploy.vectors import MAX_MISSED, UnitVectors, VectorGate

Z = (randn(60, 8) / randn(60, 8).norm(dim=1, keepdim=True)).float().numpy()
GATE = VectorGate()


def test_vectors_may_differ_by_rounding_alone():
    assert GATE.check_same("onnx", Z + 1e-6, Z).passed
    stage = GATE.check_same("onnx", Z + 1e-3, Z)
    assert stage.failures == ("vectors differ by up to 0.001",)
    assert not GATE.check_same("onnx", np.full_like(Z, np.nan), Z).passed


def test_a_smaller_model_keeps_nearly_all_nearest_texts():
    noise = randn(60, 8, seed=3).float().numpy()
    stage = GATE.check_similar("int8", Z + 1e-4 * noise, Z)
    assert stage.passed
    assert stage.missed_neighbours < MAX_MISSED
    stage = GATE.check_similar("int8", noise, Z)
    assert not stage.passed
    assert "of 10 nearest texts are missed" in stage.failures[0]


def test_unit_vectors_have_length_1_and_the_direction_of_the_network():
    net = torch.nn.Linear(3, 4)
    x = randn(5, 3).float()
    with torch.no_grad():
        vectors, expected = UnitVectors(net)(x), net(x)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
    cosines = torch.cosine_similarity(vectors, expected)
    assert cosines.tolist() == pytest.approx([1.0] * 5, abs=1e-6)
