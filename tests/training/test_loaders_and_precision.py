"""What a user's loaders, labels and precision may be."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import limbeck
from limbeck._base.errors import ConfigError
from limbeck.training.optimizer import Optimizer


def batches(count=4, size=8):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(count, size, 6, generator=draw)
    return [(a, a[:, :3].argmax(1)) for a in x]


class NoLength:
    def __init__(self, content):
        self.content = content

    def __iter__(self):
        return iter(self.content)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
def test_a_float32_teacher_is_asked_under_any_precision(precision):
    torch.manual_seed(0)
    student, teacher = nn.Linear(6, 3), nn.Linear(6, 3)
    options = {"precision": precision, "accelerator": "cpu"}
    limbeck.distill(student, teacher, batches(), epochs=1, progress=False, trainer=options)
    assert all(p.isfinite().all() for p in student.parameters())
    assert {p.dtype for p in teacher.parameters()} == {torch.float32}


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_a_schedule_needs_a_loader_with_a_length(schedule):
    with pytest.raises(ConfigError, match="needs a loader that has a length"):
        limbeck.train(
            nn.Linear(6, 3),
            NoLength(batches()),
            epochs=2,
            optimizer=Optimizer(schedule=schedule),
            progress=False,
        )
    limbeck.train(nn.Linear(6, 3), NoLength(batches()), epochs=2, progress=False)


def test_the_logged_hard_loss_is_the_mean_over_labelled_samples():
    import lightning as L

    content = batches()
    hidden = [(x, torch.full_like(y, -100)) for x, y in content[1:]]
    torch.manual_seed(0)
    student = nn.Linear(6, 3)
    expected = float(F.cross_entropy(student(content[0][0]), content[0][1]).detach())
    frozen = lambda parameters: torch.optim.SGD(parameters, lr=0.0)  # noqa: E731
    module = limbeck.DistillationModule(student, optimizer=frozen)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, torch.utils.data.DataLoader([content[0], *hidden], batch_size=None))
    assert float(trainer.callback_metrics["train_hard"]) == pytest.approx(expected, rel=1e-6)


def test_a_validation_loader_that_gives_nothing_logs_nothing():
    limbeck.train(nn.Linear(6, 3), batches(), epochs=1, val_loader=NoLength([]), progress=False)


def test_evaluate_takes_numpy_batches():
    content = [(x.numpy(), y.numpy()) for x, y in batches()]
    result = limbeck.evaluate(nn.Linear(6, 3), content)
    assert result["total"] == 32
    assert math.isfinite(result["nll"])


def test_float16_gets_no_fused_optimizer():
    parameter = nn.Parameter(torch.zeros(2))
    assert Optimizer().build([parameter], 1, fused=False)[0].defaults["fused"] is False
    assert Optimizer().build([parameter], 1)[0].defaults["fused"] is True
