"""Gradients are clipped and norms bounded for each student by itself."""

import pytest
import torch
from support.cohorts import (
    SETTINGS,
    STEPS,
    batches_of,
    compare,
    fit,
    grid_of,
    mlp,
    sgd,
    stacked,
    teacher_of,
)
from support.plain_loop import far, same, trainer

from limbeck import DistillationModule, Objective
from limbeck.models.mlp import BoundedLinear
from limbeck.training.cohort.stack import Cohort


@pytest.mark.parametrize(("arms", "seeds"), [(3, 2), (1, 1)])
def test_gradients_are_clipped_per_student(arms, seeds):
    assert compare(arms, seeds, mlp, sgd, dtype=torch.float64, clip=0.05) < 1e-6
    assert compare(arms, seeds, mlp, sgd, dtype=torch.float64, clip=1e6) < 1e-10


def test_a_student_with_huge_gradients_does_not_change_the_others():
    calm = {"hard_weight": 1.0, "soft_weight": 0.0}
    wild = {"hard_weight": 1e5, "soft_weight": 0.0}
    trained = []
    for first in (calm, wild):
        cohort = Cohort(grid_of(mlp, 2, 1))
        fit(cohort, batches_of(1), (first, calm), sgd, gradient_clip_val=0.5)
        trained.append(cohort)
    assert same(trained[0].member(1, 0), trained[1].member(1, 0))
    assert far(trained[0].member(0, 0), trained[1].member(0, 0)) > 1e-2


def test_a_student_that_diverges_does_not_change_the_gradients_of_others():
    cohort = Cohort(grid_of(mlp, 2, 1))
    with torch.no_grad():
        cohort.stacked[0][:, 0] = float("nan")
    x = torch.randn(1, 6, 1, 3, 3)
    cohort(x).square().sum().backward()
    other = mlp(0)
    other(x[0]).square().sum().backward()
    torch.testing.assert_close(cohort.stacked[0].grad[0, 1], other.layers[1].weight.grad)


def test_clipping_by_value_passes_through():
    cohort = Cohort(grid_of(mlp, 2, 1))
    fit(
        cohort,
        batches_of(1, steps=1),
        SETTINGS[:2],
        lambda p: torch.optim.SGD(p, lr=1.0),
        teacher=teacher_of(),
        gradient_clip_val=1e-3,
        gradient_clip_algorithm="value",
    )
    for _, seed, member in cohort.members():
        moved = [
            (a - b).abs().max().item()
            for a, b in zip(member.parameters(), mlp(seed).parameters(), strict=True)
        ]
        assert max(moved) == pytest.approx(1e-3, rel=1e-3)


def test_the_bound_on_norms_equals_renorm_after_each_step():
    bounds = {"layers.1.weight": 0.6, "layers.3.weight": 0.6}
    bounded = lambda seed: mlp(seed, max_norm=0.6)  # noqa: E731
    for arms, seeds in ((1, 1), (3, 2)):
        # torch.renorm divides by the norm plus 1e-7
        assert compare(arms, seeds, bounded, sgd, dtype=torch.float64, max_norm=bounds) < 1e-5


def test_the_bound_holds_for_every_student_after_every_step():
    cohort = Cohort([[mlp(seed, max_norm=0.4) for seed in range(2)] for _ in range(2)])
    outputs = []

    class Watch(DistillationModule):
        def on_train_batch_end(self, *args):
            super().on_train_batch_end(*args)
            for _, _, member in self.cohort.members():
                norms = [
                    m.weight.norm(dim=1) for m in member.modules() if isinstance(m, BoundedLinear)
                ]
                outputs.append(torch.cat(norms).max().item())

    module = Watch(cohort, teacher_of(), [Objective(), Objective(temperature=1.0)], optimizer=sgd)
    trainer(max_epochs=1).fit(module, stacked(batches_of(2)))
    assert len(outputs) == 4 * STEPS
    assert max(outputs) <= 0.4 * (1 + 1e-6)
    assert max(outputs) > 0.39
