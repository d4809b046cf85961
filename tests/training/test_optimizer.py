"""Optimizers and schedules, given as an instance, a function or settings."""

import math

import lightning as L
import pytest
import torch
from support.module_nets import batches, net, teacher_net
from support.plain_loop import far, train_alone, trainer
from torch.utils.data import DataLoader

import limbeck
from limbeck import DistillationModule, Optimizer
from limbeck._base.errors import ConfigError


def test_an_optimizer_can_be_an_instance_a_function_or_settings(data):
    def trained(student, optimizer):
        trainer(max_epochs=2).fit(
            DistillationModule(student, teacher_net(), optimizer=optimizer), DataLoader(data, 16)
        )
        return student

    alone = net(0)
    train_alone(
        alone,
        batches(data, 16, 2),
        lambda p: torch.optim.Adam(p, lr=0.01),
        teacher=teacher_net().eval(),
    )
    own = net(0)
    for student in (
        trained(own, torch.optim.Adam(own.parameters(), lr=0.01)),
        trained(net(0), lambda parameters: torch.optim.Adam(parameters, lr=0.01)),
        trained(net(0), Optimizer(name="adam", lr=0.01)),
    ):
        assert far(student, alone) < 1e-5


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        (
            {"name": "adamw", "weight_decay": 0.1},
            lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        ),
        (
            {"name": "adam", "weight_decay": 0.1},
            lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
        ),
        ({"name": "sgd"}, lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True)),
        ({"name": "sgd", "momentum": 0.0}, lambda p: torch.optim.SGD(p, lr=0.01)),
    ],
)
def test_settings_mean_the_optimizers_of_torch(data, settings, plain):
    alone, student = net(0), net(0)
    train_alone(alone, batches(data, 16, 2), plain, hard_weight=1.0, soft_weight=0.0)
    module = DistillationModule(student, optimizer=Optimizer(lr=0.01, **settings))
    trainer(max_epochs=2).fit(module, DataLoader(data, 16))
    assert far(student, alone) < 1e-5


@pytest.mark.parametrize(
    ("schedule", "accumulate", "first", "last"),
    [
        ("constant", 1, 0.1, 0.1),
        ("one_cycle", 1, 0.1 / 25, 0.1 / 25 / 1e4),
        ("one_cycle", 2, 0.1 / 25, 0.1 / 25 / 1e4),
        ("cosine", 1, 0.1, 0.0),
    ],
)
def test_schedules_end_with_the_training(data, schedule, accumulate, first, last):
    rates = []

    class Watch(L.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])

    module = DistillationModule(net(0), optimizer=Optimizer(name="sgd", lr=0.1, schedule=schedule))
    fitter = trainer(max_epochs=3, callbacks=[Watch()], accumulate_grad_batches=accumulate)
    fitter.fit(module, DataLoader(data, 16))
    assert len(rates) == 3 * 4 / accumulate
    assert rates[0] == pytest.approx(first)
    # The schedule has taken one step more than the optimizer: its end is the rate of the step after
    # the last.
    end = fitter.optimizers[0].param_groups[0]["lr"]
    reached = rates[-1] if schedule == "one_cycle" else end
    assert reached == pytest.approx(last, rel=1e-4, abs=1e-12)
    assert max(rates) <= 0.1 + 1e-12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adagrad"}, "optimizer.name='adagrad' is unknown"),
        ({"schedule": "step"}, "optimizer.schedule='step' is unknown"),
        ({"lr": 0}, "optimizer.lr=0 learns nothing"),
        ({"lr": float("nan")}, "finite number"),
        ({"lr": -1.0}, "not negative"),
        ({"lr": "fast"}, "finite number"),
        ({"weight_decay": -0.1}, "not negative"),
        ({"momentum": True}, "momentum"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Optimizer(**settings)


def test_float16_gets_no_fused_optimizer():
    parameter = torch.nn.Parameter(torch.zeros(2))
    assert Optimizer().build([parameter], 1, fused=False)[0].defaults["fused"] is False
    assert Optimizer().build([parameter], 1)[0].defaults["fused"] is True


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.Adam(net(1).parameters()),
        lambda parameters: torch.optim.Adam(net(1).parameters()),
    ],
    ids=["instance", "function"],
)
def test_an_optimizer_of_another_model_is_refused(data, optimizer):
    message = "The optimizer has none of the student's parameters"
    with pytest.raises(ConfigError, match=message):
        limbeck.train(net(0), [data.tensors], epochs=1, optimizer=optimizer, progress=False)
    module = DistillationModule(net(0), optimizer=optimizer)
    with pytest.raises(ConfigError, match=message):
        trainer(max_epochs=1).fit(module, DataLoader(data, 16))


def test_an_optimizer_of_a_part_of_the_student_trains_that_part(data):
    student = net(0)
    optimizer = torch.optim.SGD(student[3].parameters(), lr=0.1)
    limbeck.train(student, [data.tensors], epochs=1, optimizer=optimizer, progress=False)
    assert torch.equal(student[1].weight, net(0)[1].weight)
    assert not torch.equal(student[3].weight, net(0)[3].weight)


def test_a_frozen_student_is_refused(data):
    student = net(0).requires_grad_(False)
    with pytest.raises(ConfigError, match="no parameters to train"):
        limbeck.train(student, [data.tensors], epochs=1, progress=False)


def test_the_linear_schedule_is_that_of_transformers():
    transformers = pytest.importorskip("transformers")

    rates = []
    for steps in (1, 7, 25):
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer, scheduler = Optimizer(lr=0.5, schedule="linear").build([weight], steps)
        other = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        warm_up = math.ceil(0.1 * steps)
        theirs = transformers.get_linear_schedule_with_warmup(other, warm_up, steps)
        for _ in range(steps):
            rates.append((optimizer.param_groups[0]["lr"], other.param_groups[0]["lr"]))
            for part in (optimizer, scheduler, other, theirs):
                part.step()
    assert all(ours == pytest.approx(expected, abs=1e-12) for ours, expected in rates)
    assert max(ours for ours, _ in rates) == 0.5
