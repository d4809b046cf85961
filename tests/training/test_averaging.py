"""Averages of weights: those of torch.optim.swa_utils, in every training."""

import copy

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import WeightAveraging
from support import resumed
from support.plain_loop import Loader, far, same, trainer
from support.resumed import check_resumed
from torch import nn
from torch.optim.swa_utils import AveragedModel

import limbeck
from limbeck import DistillationModule, Optimizer
from limbeck._base.errors import ConfigError
from limbeck.training.averaging import WeightAverage
from limbeck.training.fit import fit
from limbeck.training.options import TrainerOptions
from limbeck.training.task import DistillationTask

STEPS, EPOCHS = 8, 3
EMA = Optimizer(lr=0.01, averaging="ema", ema_decay=0.6)
SWA = Optimizer(lr=0.01, averaging="swa")


def net(seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(9, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 3)
    return nn.Sequential(nn.Flatten(), *layers)


def batches():
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(STEPS, 16, 1, 3, 3, generator=draw), torch.arange(16) % 3
    return Loader([(part, y) for part in x])


def average_of_torch(kind, decay=0.6):
    """An average of torch, with the decay of the first steps, and the step before it starts."""

    def average(mean, current, count):
        rate = min(decay, (1 + int(count)) / (10 + int(count)))
        return rate * mean + (1 - rate) * current

    options = {"use_buffers": True} | ({"avg_fn": average} if kind == "ema" else {})
    return options, 0 if kind == "ema" else 3 * STEPS * EPOCHS // 4


def plain_loop(kind):
    """The average of a model that torch alone trains."""
    options, first = average_of_torch(kind)
    model = net()
    mean, optimizer = AveragedModel(model, **options), torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(EPOCHS):
        for number, (x, y) in enumerate(batches()):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if epoch * STEPS + number >= first:
                mean.update_parameters(model)
    return mean.module, model


@pytest.mark.parametrize("optimizer", [EMA, SWA], ids=["ema", "swa"])
def test_a_model_has_the_average_of_torch_with_the_statistics_of_batchnorm(optimizer):
    expected, last = plain_loop(optimizer.averaging)
    model = limbeck.train(net(), batches(), epochs=EPOCHS, optimizer=optimizer, progress=False)
    assert far(*_floats(model, expected)) < 1e-5
    assert far(*_floats(model, last)) > 1e-3
    assert model[2].num_batches_tracked == last[2].num_batches_tracked == STEPS * EPOCHS


def _floats(*models):
    """Models without the number of batches, which is a count and has no average."""
    models = copy.deepcopy(models)
    for model in models:
        model[2].num_batches_tracked = None
    return models


@pytest.mark.parametrize("optimizer", [EMA, SWA], ids=["ema", "swa"])
def test_the_average_is_that_of_lightnings_callback(optimizer):
    options, first = average_of_torch(optimizer.averaging)

    class Average(WeightAveraging):
        def should_update(self, step_idx=None, epoch_idx=None):
            return step_idx is not None and step_idx >= first

    module = DistillationModule(net(), optimizer=Optimizer(lr=0.01))
    trainer(max_epochs=EPOCHS, callbacks=[Average(**options)]).fit(module, batches())
    model = limbeck.train(net(), batches(), epochs=EPOCHS, optimizer=optimizer, progress=False)
    assert far(*_floats(model, module.cohort.student)) < 1e-5


def test_a_long_average_forgets_the_first_steps_and_keeps_its_decay():
    weight = nn.Linear(1, 1, bias=False)
    average = WeightAverage(weight, "ema", decay=0.9)
    values = []
    for step in range(400):
        value = 1000.0 if step < 10 else step % 2
        nn.init.constant_(weight.weight, value)
        average.update()
        with average.applied():
            values.append(weight.weight.item())
        assert weight.weight.item() == value
    assert values[0] == 1000.0
    # An alternating 0 and 1, of which the last one counts 1 / (1 + 0.9) = 0.526.
    assert values[-1] == pytest.approx(1 / 1.9, abs=1e-6)
    assert values[20] < 10


# In every training --------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [EMA, SWA], ids=["ema", "swa"])
def test_students_of_a_cohort_have_the_average_of_students_alone(optimizer):
    def trained(seeds):
        task, data = resumed.cohort(seeds=seeds, optimizer=optimizer)
        fit(task, data, options=TrainerOptions(accelerator="cpu", max_epochs=2))
        return task.cohort

    together, without = trained([0, 1]), resumed.cohort(optimizer=Optimizer(lr=0.01))
    fit(*without, options=TrainerOptions(accelerator="cpu", max_epochs=2))
    for seed in (0, 1):
        alone = trained([seed])
        for arm in (0, 1):
            student = together.member(arm, seed)
            assert far(student, alone.member(arm, 0)) < 1e-5
            assert far(student, without[0].cohort.member(arm, seed)) > 1e-3


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_the_averaged_weights_are_validated_and_returned(precision):
    task, data = resumed.guided()
    task.optimizer = Optimizer(lr=0.01, averaging="ema")
    options = TrainerOptions(accelerator="cpu", max_epochs=2, precision=precision)
    fit(task, data, options=options)
    logged = task.val_scalars(lambda values: values)
    task.begin_validation()
    task.eval()
    with torch.no_grad():
        for batch in data.val_batches(torch.device("cpu")):
            task.validate(batch if precision == "32-true" else _as_bfloat16(batch))
    for name, value in task.val_scalars(lambda values: values).items():
        assert logged[name] == pytest.approx(value, rel=1e-5), name


def _as_bfloat16(batch):
    batch = copy.copy(batch)
    return batch._replace(x=batch.x.bfloat16())


@pytest.mark.parametrize("make", [resumed.cohort, resumed.guided])
@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_a_training_with_an_average_is_resumed_bit_for_bit(make, averaging, tmp_path, monkeypatch):
    def with_average():
        task, data = make()
        task.optimizer = Optimizer(lr=0.01, schedule="one_cycle", averaging=averaging)
        return task, data

    check_resumed(with_average, tmp_path, monkeypatch, seed=2)


def test_a_resumed_training_that_is_complete_has_the_average(tmp_path):
    def make():
        return resumed.cohort(optimizer=EMA)

    whole, _ = resumed.train(make, tmp_path)
    again, _ = resumed.train(make, tmp_path)
    resumed.assert_same(again, whole)


def test_weights_of_low_precision_are_averaged_in_float32():
    model = nn.Linear(4, 4).bfloat16()
    average = WeightAverage(model, "ema", decay=0.999)
    for step in range(200):
        nn.init.constant_(model.weight, 1.0 + (step % 2) / 64)
        average.update()
    average.apply()
    assert model.weight.dtype == torch.bfloat16
    mean = average.state_dict()["mean"][0]
    assert mean.dtype == torch.float32
    assert mean.mean().item() == pytest.approx(1 + 1 / 128, abs=1e-3)


# What does not fit --------------------------------------------------------------------------------


def test_swa_needs_the_number_of_steps():
    class Streamed:
        def __iter__(self):
            return iter(batches())

    assert same(
        limbeck.train(net(), Streamed(), epochs=2, optimizer=EMA, progress=False),
        limbeck.train(net(), batches(), epochs=2, optimizer=EMA, progress=False),
    )
    with pytest.raises(ConfigError, match="needs a loader that has a length"):
        limbeck.train(net(), Streamed(), epochs=2, optimizer=SWA, progress=False)


def test_a_trainer_of_the_user_has_lightnings_callback():
    module = DistillationModule(net(), optimizer=EMA)
    with pytest.raises(ConfigError, match="EMAWeightAveraging"):
        trainer(max_epochs=1).fit(module, batches())


@pytest.mark.parametrize("settings", [{"averaging": "mean"}, {"ema_decay": 1.0}, {"ema_decay": -1}])
def test_settings_are_checked(settings):
    with pytest.raises(ConfigError, match=f"optimizer.{next(iter(settings))}="):
        Optimizer(**settings)


def test_a_setting_that_is_off_leaves_no_trace():
    model = _trained(Optimizer(lr=0.01))
    assert same(model, _trained(Optimizer(lr=0.01, averaging=None, ema_decay=0.5)))
    task = DistillationTask(net())
    assert task.optimizer.averaging is None


def _trained(optimizer):
    return limbeck.train(net(), batches(), epochs=2, optimizer=optimizer, progress=False)
