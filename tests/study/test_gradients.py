"""The gradients of hard and soft loss are compared."""

import pytest
import torch
from support.image_studies import ARMS, study_of, teacher_model
from torch import nn

from limbeck import Arm, Objective
from limbeck.losses import StackedObjective
from limbeck.study.gradients import gradients


def test_the_gradients_are_those_of_the_weighted_losses():
    torch.manual_seed(0)
    student, x, answers = nn.Linear(4, 3), torch.randn(8, 4), torch.randn(8, 3)
    labels = torch.arange(8) % 3
    objective = Objective(hard_weight=0.3, soft_weight=0.7, temperature=2.0)
    norms = gradients(student, answers, StackedObjective([objective]), x, labels)
    logits = student(x)
    hard = 0.3 * nn.functional.cross_entropy(logits, labels)
    log_q, p = (logits / 2).log_softmax(-1), (answers / 2).softmax(-1)
    soft = 0.7 * 4 * nn.functional.kl_div(log_q, p, reduction="batchmean")
    for loss, norm in ((hard, norms.hard), (soft, norms.soft)):
        parts = torch.autograd.grad(loss, list(student.parameters()), retain_graph=True)
        expected = torch.cat([part.flatten() for part in parts]).norm()
        assert norm == pytest.approx(float(expected), rel=1e-4)


def examine(data, out, **objective):
    arms = {"hard": ARMS["hard"], "soft": Arm(objective=Objective(**objective))}
    findings = study_of(data, out, arms, teacher=teacher_model()).examine()
    return [finding for finding in findings if finding.subject == "loss"]


def test_arms_with_one_loss_are_left_out(data, tmp_path):
    assert examine(data, tmp_path / "run", hard_weight=0.0, soft_weight=1.0) == []


def test_balanced_losses(data, tmp_path):
    (finding,) = examine(data, tmp_path / "run")
    assert finding.level == "ok"
    assert "arms.soft: both losses contribute" in finding.text


@pytest.mark.parametrize(
    ("objective", "name", "remedy"),
    [
        ({"temperature": 20.0, "scale_by_t2": False}, "soft", "objective.scale_by_t2=true"),
        ({"hard_weight": 1e-4, "soft_weight": 1.0}, "hard", "objective.hard_weight="),
        ({"hard_weight": 1.0, "soft_weight": 1e-4}, "soft", "objective.soft_weight="),
    ],
)
def test_a_loss_with_a_much_smaller_gradient(data, tmp_path, objective, name, remedy):
    (finding,) = examine(data, tmp_path / "run", **objective)
    assert finding.level == "warning"
    assert f"is much larger than that of the {name} loss" in finding.text
    assert finding.remedy.startswith(remedy)
