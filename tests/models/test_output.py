"""Logits of what a model may return."""

import pytest
import torch

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.models import logits_of

LOGITS = torch.randn(4, 3)


class Output:
    logits = LOGITS


@pytest.mark.parametrize("output", [LOGITS, Output(), {"loss": None, "logits": LOGITS}])
def test_logits_are_a_tensor_or_a_part_of_the_output(output):
    assert logits_of(output, 4, "student") is LOGITS


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, r"The teacher returned None; .* end with a return statement\?"),
        ((LOGITS, LOGITS), r"returned a tuple \(Tensor, Tensor\); expected logits as a tensor"),
        (
            {"out": LOGITS},
            "a dictionary with the keys out; expected logits",
        ),
        (3.0, "a value of type float"),
        (LOGITS[:1], r"a tensor of shape \[1, 3\] for 4 inputs; expected logits \[4, C\]"),
        (LOGITS[:, 0], r"a tensor of shape \[4\] for 4 inputs"),
    ],
)
def test_other_outputs_are_refused(output, message):
    with pytest.raises(TeacherError, match=message):
        logits_of(output, 4, "teacher", TeacherError)
    with pytest.raises(ConfigError):
        logits_of(output, 4, "student")
