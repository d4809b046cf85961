import numpy as np
import pytest
import torch
from scipy.special import logit

from limbeck._base.errors import TeacherError
from limbeck.teacher.probabilities import (
    FLOOR,
    logits_of_probabilities,
    logits_of_sigmoid,
    two_logits,
)


def test_the_softmax_of_the_logits_is_the_probabilities():
    p = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    torch.testing.assert_close(logits_of_probabilities(p, "it").softmax(-1), p)
    half = logits_of_probabilities(p.half(), "it")
    assert half.dtype == torch.float32


def test_zeros_are_floored():
    logits = logits_of_probabilities(torch.tensor([[1.0, 0.0, 0.0]]), "it")
    assert logits.tolist() == [[0.0, *[pytest.approx(np.log(FLOOR))] * 2]]


@pytest.mark.parametrize(
    "row", [[0.5, 0.6], [1.2, -0.2], [float("nan"), 1.0], [3.0, -1.0], [float("inf"), 0.0]]
)
def test_rows_that_are_no_distribution(row):
    p = torch.tensor([[0.5, 0.5], row])
    with pytest.raises(
        TeacherError, match=r"it should answer with .* those of sample 1 of a batch"
    ):
        logits_of_probabilities(p, "it")


def test_a_sigmoid_is_inverted():
    p = np.array([[0.2], [0.9], [0.5]])
    logits = logits_of_sigmoid(torch.from_numpy(p))
    torch.testing.assert_close(logits.double(), torch.from_numpy(logit(p)), atol=1e-6, rtol=1e-6)
    assert logits_of_sigmoid(torch.tensor([[0.0], [1.0]])).isfinite().all()
    torch.testing.assert_close(two_logits(logits).softmax(-1)[:, 1:], torch.from_numpy(p).float())
