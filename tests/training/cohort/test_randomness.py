"""Dropout of a student depends on its seed and the epoch alone; arms of a seed share it."""

import pytest
import torch
import torch.nn.functional as F
from support.cohorts import (
    CLASSES,
    SETTINGS,
    Exact,
    adam,
    batches_of,
    fit,
    grid_of,
    mlp,
    stacked,
    teacher_of,
)
from support.plain_loop import far, same, trainer
from torch import nn

from limbeck import DistillationModule, Objective
from limbeck.models import GPT
from limbeck.training.cohort.randomness import SeedStreams
from limbeck.training.cohort.stack import Cohort


def test_dropout_is_independent_between_seeds_and_shared_by_arms():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.dropout = nn.Dropout(0.3)

        def forward(self, x):
            return self.dropout(x * self.weight)

    cohort = Cohort([[Scaled() for _ in range(3)] for _ in range(2)])
    x = torch.ones(3, 200, 50)
    masks = cohort(x) > 0
    assert torch.equal(masks[0], masks[1])
    flat = masks[0].flatten(1)
    for i in range(3):
        share = flat[i].float().mean().item()
        assert share == pytest.approx(0.7, abs=5 * (0.21 / 10_000) ** 0.5)
        for j in range(i):
            both = (flat[i] & flat[j]).float().mean().item()
            assert both == pytest.approx(0.49, abs=5 * (0.25 / 10_000) ** 0.5), (
                "seeds share their dropout"
            )
    logits = cohort(x)
    saved = logits[logits > 0]
    torch.testing.assert_close(saved, torch.full_like(saved, 1 / 0.7))
    cohort.eval()
    assert torch.equal(cohort(x), x.expand(2, 3, -1, -1))
    cohort.train()
    assert (cohort(x) == 0).any()


class Conv(nn.Module):
    """A user's own network, which is stacked with ``vmap``."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.head = nn.Linear(36, CLASSES)

    def forward(self, x):
        features = self.norm(self.conv(x)).relu().flatten(1)
        return self.head(F.dropout(features, 0.5, self.training))


def dropout_mlp(seed):
    return mlp(seed, dropout=0.5, input_dropout=0.2)


def dropout_gpt(seed):
    torch.manual_seed(seed)
    return GPT((6,), 9, width=8, dropout=0.3)


@pytest.mark.parametrize("make", [dropout_mlp, Conv, dropout_gpt])
def test_dropout_is_that_of_the_student_alone(make):
    x = torch.randn(3, 6, 1, 3, 3) if make is not dropout_gpt else torch.randint(9, (3, 5, 6))
    cohort = Cohort([[make(10 * arm + seed) for seed in range(3)] for arm in range(2)]).train()
    cohort.set_streams([5, 6, 7])
    steps = [cohort(x), cohort(x)]
    for arm, seed, student in cohort.members():
        torch.manual_seed(5 + seed)
        for logits in steps:
            expected = student.train()(x[seed])
            torch.testing.assert_close(logits[arm, seed], expected, rtol=1e-5, atol=1e-5)


def test_other_seeds_and_arms_do_not_change_a_student():
    def trained(arms, seeds):
        members = [[dropout_mlp(seed).double() for seed in range(seeds)] for _ in range(arms)]
        batches = batches_of(seeds, steps=6, dtype=torch.float64)
        cohort = Cohort(members)
        teacher = Exact(teacher_of(torch.float64))
        fit(cohort, batches, SETTINGS[:arms], adam, teacher=teacher, precision="64-true")
        return cohort.member(0, 0).double()

    alone = trained(1, 1)
    assert far(alone, dropout_mlp(0).double()) > 1e-3, "it did not learn"
    for arms, seeds in ((1, 2), (2, 1), (3, 2)):
        assert far(trained(arms, seeds), alone) < 1e-6


def test_dropout_goes_on_after_a_validation():
    differ = []

    class Watch(DistillationModule):
        def training_step(self, batch, batch_idx):
            differ.append(not torch.equal(self.cohort(batch.x), self.cohort(batch.x)))
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            assert torch.equal(self.cohort(batch.x), self.cohort(batch.x))
            super().validation_step(batch, batch_idx)

    hard = Objective(hard_weight=1.0, soft_weight=0.0)
    batches = stacked(batches_of(2, steps=1))
    for arms in (1, 2):
        cohort = Cohort(grid_of(lambda seed: mlp(seed, dropout=0.5), arms, 2))
        trainer(max_epochs=3).fit(Watch(cohort, None, [hard] * arms), batches, batches)
    assert differ == [True] * 6


def test_a_layer_in_eval_mode_stays_in_it():
    def make(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(9, CLASSES))
        model[1].eval()
        return model

    cohort = Cohort(grid_of(make, 2, 1)).eval().train()
    x = torch.randn(1, 4, 1, 3, 3)
    assert torch.equal(cohort(x), cohort(x))


def test_dropout_repeats_with_the_seeds_alone():
    trained = []
    for noise in (1, 2):
        cohort = Cohort(grid_of(lambda seed: mlp(seed, dropout=0.5, input_dropout=0.2), 2, 2))
        torch.manual_seed(noise)
        fit(cohort, batches_of(2, steps=6), SETTINGS[:2], adam, teacher=teacher_of())
        trained.append(cohort)
    for (_, _, a), (_, _, b) in zip(trained[0].members(), trained[1].members(), strict=True):
        assert same(a, b)


def test_restored_streams_draw_the_same_again():
    like = torch.zeros(())
    for used_before in (False, True):
        streams = SeedStreams(2, [3, 4])
        if used_before:
            streams.dropout_factors([5], 0.5, like)
        with streams.restored():
            first = streams.dropout_factors([5], 0.5, like)
        assert torch.equal(streams.dropout_factors([5], 0.5, like), first)
