"""Losses of a generator against scipy and identities."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch import nn

from limbeck.training.generator_losses import (
    balance_loss,
    certainty_loss,
    disagreement,
    statistics_loss,
)

LOGITS = st.integers(0, 10_000).map(
    lambda seed: 3 * torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))
)


@settings(max_examples=30, deadline=None)
@given(one=LOGITS, other=LOGITS, shift=st.floats(-5, 5))
def test_losses_against_scipy_and_identities(one, other, shift):
    result = disagreement(one, other)
    expected = jensenshannon(one.softmax(-1).numpy(), other.softmax(-1).numpy(), axis=-1) ** 2
    assert torch.allclose(result, torch.as_tensor(expected, dtype=torch.float32), atol=1e-5)
    assert torch.allclose(result, disagreement(other, one + shift), atol=1e-5)
    assert float(result.max()) <= math.log(2) + 1e-6
    assert torch.allclose(disagreement(one, one), torch.zeros(6), atol=1e-6)
    assert torch.allclose(certainty_loss(one), -one.softmax(-1).amax(-1).log(), atol=1e-5)
    everywhere = torch.stack([one.roll(k, -1) for k in range(4)]).flatten(0, 1)
    assert abs(float(balance_loss(everywhere))) < 1e-5
    assert float(balance_loss(1e4 * torch.eye(4)[:1].expand(6, 4))) == pytest.approx(math.log(4))


def test_classes_that_the_teacher_excludes_disagree_by_the_student_alone():
    student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, -math.inf]])
    expected = jensenshannon([0.5, 0.5], [1.0, 0.0]) ** 2
    assert disagreement(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_statistics_loss_is_0_for_what_the_layer_remembers():
    x = torch.randn(500, 3, 4, 4) * torch.tensor([1.0, 2.0, 3.0]).view(-1, 1, 1) + 1
    layer = nn.BatchNorm2d(3, momentum=1.0)
    layer(x)
    layer.eval()
    assert float(statistics_loss(layer, x)) < 1e-4
    assert float(
        statistics_loss(layer, x + layer.running_var.sqrt().view(-1, 1, 1))
    ) == pytest.approx(1, abs=1e-2)
    around = layer.running_mean.view(-1, 1, 1)
    assert float(statistics_loss(layer, (x - around) * math.e**0.5 + around)) == pytest.approx(
        1, abs=1e-2
    )
