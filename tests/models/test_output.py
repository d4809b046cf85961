"""Logits of what a model may return."""

import pytest
import torch
from torch import nn
from torchvision.models import GoogLeNetOutputs
from transformers.modeling_outputs import ImageClassifierOutput, SequenceClassifierOutput

import limbeck
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.models.bias import add_to_logits
from limbeck.models.output import logits_of
from limbeck.teacher.checks import probe
from limbeck.teacher.signal import LiveTeacher

LOGITS = torch.randn(4, 3)


class Output:
    logits = LOGITS


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        Output(),
        {"loss": None, "logits": LOGITS},
        {"features": torch.rand(4, 9), "out": LOGITS},
        (LOGITS, torch.rand(4, 9)),
        [LOGITS],
        (torch.tensor(0.3), LOGITS),
        ([torch.rand(4, 9)], LOGITS),
        SequenceClassifierOutput(loss=torch.tensor(0.3), logits=LOGITS),
        GoogLeNetOutputs(LOGITS, None, None),
    ],
)
def test_logits_are_a_tensor_or_a_part_of_the_output(output):
    assert logits_of(output, 4, "student") is LOGITS


class Net(nn.Module):
    """A linear model that returns its logits in an object, as models of transformers do."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return ImageClassifierOutput(logits=self.layer(x))


def test_such_models_are_teachers_scored_and_adjusted():
    net, x = Net(), torch.rand(6, 4)
    loader = [(x, torch.tensor([0, 1, 2, 0, 1, 2]))]
    assert limbeck.evaluate(net, loader) == limbeck.evaluate(net.layer, loader)
    assert probe(net, x[:1], [3], where="here") == 3
    assert torch.equal(LiveTeacher(net).answer(x), net.layer(x))
    before = net.layer(x)
    assert add_to_logits(net, torch.ones(3), x)
    torch.testing.assert_close(net.layer(x), before + 1)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, r"The teacher returned None; .* end with a return statement\?"),
        (LOGITS.to_sparse(), r"returned a sparse_coo tensor; .* Return logits\.to_dense\(\)"),
        ((LOGITS.sum(), None), r"returned a tuple \(Tensor, NoneType\); expected logits as a tens"),
        (
            {"features": LOGITS},
            "a dictionary with the keys features; expected logits",
        ),
        (3.0, "a value of type float"),
        (LOGITS[:1], r"a tensor of shape \[1, 3\] for 4 inputs; expected logits \[4, C\]"),
        (LOGITS[:, 0], r"a tensor of shape \[4\] for 4 inputs.* two for yes or no"),
    ],
)
def test_other_outputs_are_refused(output, message):
    with pytest.raises(TeacherError, match=message):
        logits_of(output, 4, "teacher", TeacherError)
    with pytest.raises(ConfigError):
        logits_of(output, 4, "student")
