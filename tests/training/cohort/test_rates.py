"""Learning rates of their own for the arms of a cohort."""

import pytest
import torch
from support import resumed
from support.plain_loop import far
from support.resumed import check_resumed

from limbeck import Objective, Optimizer
from limbeck._base.errors import ConfigError
from limbeck.training.cohort.rates import RateGroups, split_rates
from limbeck.training.cohort.stack import Cohort
from limbeck.training.fit import fit
from limbeck.training.options import TrainerOptions
from limbeck.training.task import DistillationTask

RATES = [0.01, 0.01, 0.003, 0.01]


def trained(optimizers, *, seeds=(0, 1), first=0, **options):
    """A cohort with an optimizer for each arm, whose objectives have other temperatures."""
    _, data = resumed.cohort(seeds=seeds)
    arms = range(first, first + len(optimizers))
    task = DistillationTask(
        Cohort([[resumed.mlp(seed) for seed in seeds] for _ in optimizers]),
        resumed.mlp(9),
        [Objective(temperature=1.0 + arm) for arm in arms],
        optimizer=optimizers,
        arm_names=[str(arm) for arm in arms],
        seeds=list(seeds),
    )
    settings = TrainerOptions.of({"accelerator": "cpu", "max_epochs": 2, **options})
    fit(task, data, options=settings)
    return task.cohort


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"name": "adam"}, {}),
        ({"name": "adamw", "weight_decay": 0.1, "schedule": "one_cycle"}, {}),
        ({"name": "sgd", "schedule": "cosine"}, {"gradient_clip_val": 0.1}),
        (
            {"name": "sgd", "schedule": "linear", "weight_decay": 0.01},
            {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
        ),
        ({"name": "adam", "averaging": "ema"}, {"accumulate_grad_batches": 2}),
    ],
    ids=["adam", "adamw", "clipped", "clipped by value", "average"],
)
def test_arms_of_several_rates_are_those_of_cohorts_of_one_rate(settings, options):
    optimizers = [Optimizer(lr=rate, **settings) for rate in RATES]
    together = trained(optimizers, **options)
    for arm, optimizer in enumerate(optimizers):
        alone = trained([optimizer], seeds=(1,), first=arm, **options)
        assert far(together.member(arm, 1), alone.member(0, 0)) < 1e-5
    assert far(together.member(2, 1), together.member(1, 1)) > 1e-3


def test_one_rate_for_all_arms_is_one_optimizer():
    one, same = Optimizer(lr=0.01), [Optimizer(lr=0.01)] * 3
    assert split_rates(same, 3) == (one, None)
    assert split_rates(one, 3) == (one, None)
    assert split_rates([one, Optimizer(lr=0.1)], 2) == (one, [0.01, 0.1])


@pytest.mark.parametrize(
    "optimizers",
    [[Optimizer()], [Optimizer(), Optimizer(weight_decay=0.1)]],
    ids=["too few", "unlike"],
)
def test_optimizers_of_a_cohort_differ_in_the_rate_alone(optimizers):
    with pytest.raises(ConfigError, match="an optimizer for each of 2 arms, which differ in lr"):
        split_rates(optimizers, 2)


def test_views_share_the_memory_of_weights_and_gradients():
    weights = torch.nn.Parameter(torch.zeros(2, 4, 3))
    groups = RateGroups([weights, torch.nn.Parameter(torch.ones(2, 4), requires_grad=False)], RATES)
    (weights * torch.arange(24.0).view(2, 4, 3)).sum().backward()
    groups.share_gradients()
    rates = [group["lr"] for group in groups.groups]
    assert rates == [0.01, 0.003]
    assert [len(group["params"]) for group in groups.groups] == [4, 2]
    torch.optim.SGD(groups.groups).step()
    expected = -torch.tensor(RATES).view(1, 4, 1) * weights.grad
    torch.testing.assert_close(weights.detach(), expected)
    groups.clear_gradients()
    assert all(view.grad is None for group in groups.groups for view in group["params"])


def test_a_training_with_several_rates_is_resumed_bit_for_bit(tmp_path, monkeypatch):
    def make():
        rates = [Optimizer(schedule="one_cycle", lr=lr) for lr in (0.01, 0.001)]
        return resumed.cohort(optimizer=rates)

    check_resumed(make, tmp_path, monkeypatch)
