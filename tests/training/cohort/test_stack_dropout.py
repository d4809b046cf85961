"""Each student of a cohort has dropout of its own, which its seed repeats."""

import pytest
import torch
from support.cohorts import (
    CLASSES,
    SETTINGS,
    adam,
    batches_of,
    fit,
    grid_of,
    mlp,
    stacked,
    teacher_of,
)
from support.plain_loop import same, trainer
from torch import nn

from limbeck import DistillationModule, Objective
from limbeck.training.cohort.stack import Cohort


def test_dropout_is_independent_between_members():
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
    flat = masks.flatten(0, 1).flatten(1)
    for i in range(6):
        share = flat[i].float().mean().item()
        assert share == pytest.approx(0.7, abs=5 * (0.21 / 10_000) ** 0.5)
        for j in range(i):
            both = (flat[i] & flat[j]).float().mean().item()
            assert both == pytest.approx(0.49, abs=5 * (0.25 / 10_000) ** 0.5), (
                "members share their dropout"
            )
    logits = cohort(x)
    saved = logits[logits > 0]
    torch.testing.assert_close(saved, torch.full_like(saved, 1 / 0.7))
    cohort.eval()
    assert torch.equal(cohort(x), x.expand(2, 3, -1, -1))
    cohort.train()
    assert (cohort(x) == 0).any()


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
