"""Whole epochs in one training step: the same numbers as Lightning's own loop, at a fraction of its
cost.
"""

import pytest
import torch
import torch._dynamo.testing
from lightning.pytorch.utilities.exceptions import SIGTERMException

from limbeck.data import Affine, Chain, Dataset, Elastic, Shift, TransferSet
from limbeck.data.batches import StudyData
from limbeck.losses import Objective
from limbeck.models import MLP
from limbeck.teacher.signal import StoredTeacher
from limbeck.training.cohort.stack import Cohort
from limbeck.training.fit import make_trainer, run_fit
from limbeck.training.module import DistillationModule
from limbeck.training.optimizer import Optimizer
from limbeck.training.steps import can_take_whole_epochs, has_length

SHAPE = (1, 6, 6)


def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (230, *SHAPE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (230,), generator=generator)
    return Dataset.from_arrays(
        images[:200], labels[:200], images[200:], labels[200:], class_names=list("abc"), val=30
    )


def student(seed, max_norm=None):
    torch.manual_seed(seed)
    return MLP(SHAPE, 3, hidden=[8], dropout=0.2, max_norm=max_norm)


def fitted(
    *, arms=2, views=None, optimizer=None, epochs=3, checkpoints=None, max_norm=None, **options
):
    """Students trained on a small study's batches, and the Trainer that did it."""
    found = data()
    members = [[student(seed, max_norm) for seed in (0, 1)] for _ in range(arms)]
    signal = StoredTeacher(
        torch.randn(len(found.train), 16, 3, generator=torch.Generator().manual_seed(2))
    )
    objectives = [Objective(temperature=2.0 + arm) for arm in range(arms)]
    module = DistillationModule(
        Cohort(members),
        signal,
        objectives,
        optimizer=optimizer or Optimizer(schedule="one_cycle", lr=0.01),
        arm_names=[f"arm{arm}" for arm in range(arms)],
        seeds=[0, 1],
    )
    batches = StudyData(
        found,
        seeds=[0, 1],
        batch_size=32,
        views=views or Shift(1),
        transfer=TransferSet(labelled=50),
    )
    trainer = make_trainer(
        epochs=epochs, options={"accelerator": "cpu", **options}, checkpoints=checkpoints
    )
    compile = options.get("compile", False)
    run_fit(module, trainer=trainer, checkpoints=checkpoints, compile=compile, datamodule=batches)
    return module, trainer


def weights(module):
    return [p.detach().clone() for p in module.cohort.parameters()]


SINGLE = {"limit_train_batches": 1000}
"""An option that changes nothing but asks for single steps."""


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true", "bf16-true"])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_they_give_bit_for_bit_what_lightnings_own_loop_gives(precision, name):
    optimizer = Optimizer(name=name, schedule="one_cycle", lr=0.01)
    views = Chain([Affine(), Elastic()]).limited(
        16
    )  # they compute, and should do so in float32 under any precision
    settings = {"optimizer": optimizer, "precision": precision, "max_norm": 0.5, "views": views}
    whole, trainer = fitted(**settings)
    single, other = fitted(**settings, **SINGLE)
    assert not whole.automatic_optimization
    assert single.automatic_optimization
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(single), strict=True))
    assert trainer.global_step == other.global_step == 3 * 6
    assert trainer.callback_metrics.keys() == other.callback_metrics.keys()
    for key, value in trainer.callback_metrics.items():
        torch.testing.assert_close(value, other.callback_metrics[key], rtol=1e-5, atol=1e-6)


def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(tmp_path, monkeypatch):
    straight, _ = fitted(epochs=4)
    begin = DistillationModule.on_train_epoch_start

    def stop(module):
        if module.current_epoch == 2:
            raise RuntimeError("stopped")
        begin(module)

    with monkeypatch.context() as patch:
        patch.setattr(DistillationModule, "on_train_epoch_start", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            fitted(epochs=4, checkpoints=tmp_path)
    assert (tmp_path / "last.ckpt").is_file()
    resumed, trainer = fitted(epochs=4, checkpoints=tmp_path)
    assert trainer.global_step == 4 * 6
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"max_steps": 10},
        {"gradient_clip_val": 1.0},
        {"accumulate_grad_batches": 2},
        {"limit_train_batches": 3},
        {"limit_train_batches": 1},
        {"limit_train_batches": 0.5},
        {"val_check_interval": 1},
        {"overfit_batches": 2},
        {"val_check_interval": 2},
        {"max_time": "00:01:00:00"},
        {"fast_dev_run": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_ask_for_single_steps_get_them(options):
    trainer = make_trainer(epochs=2, options={"accelerator": "cpu", **options})
    assert not can_take_whole_epochs(trainer)
    assert can_take_whole_epochs(make_trainer(epochs=2, options={"accelerator": "cpu"}))


def test_limits_on_steps_hold():
    assert fitted(max_steps=7)[1].global_step == 7
    assert fitted(limit_train_batches=2)[1].global_step == 3 * 2
    assert fitted(limit_train_batches=1)[1].global_step == 3


def test_has_length():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([])

    assert has_length([1])
    assert not has_length([])
    assert not has_length(iter([1]))
    assert not has_length(torch.utils.data.DataLoader(Stream()))


def test_a_termination_stops_within_an_epoch():
    module = DistillationModule(student(0), optimizer=Optimizer())
    told = []

    class Loader:
        def __len__(self):
            return 1000

        def __iter__(self):
            for number in range(1000):
                told.append(number)
                if number == 5:
                    trainer._signal_connector.received_sigterm = True
                yield torch.rand(4, *SHAPE), torch.zeros(4, dtype=torch.int64)

    trainer = make_trainer(epochs=2, options={"accelerator": "cpu"})
    with pytest.raises(SIGTERMException):
        run_fit(module, trainer=trainer, train_dataloaders=Loader())
    assert len(told) == 6


def test_progress_is_told_within_an_epoch(monkeypatch):
    monkeypatch.setattr("limbeck.training.module.TELL_SECONDS", 0.0)
    told = []
    found = data()
    module = DistillationModule(student(0), optimizer=Optimizer())
    trainer = make_trainer(
        epochs=2, options={"accelerator": "cpu"}, advance=lambda done, note="": told.append(done)
    )
    run_fit(module, trainer=trainer, datamodule=StudyData(found, seeds=[0], batch_size=32))
    assert told == sorted(told)
    assert told[-1] == 2
    assert len(told) == 2 * (6 + 2)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_compiled_steps_give_the_same_students_of_many_shapes(monkeypatch, precision):
    # "eager" traces and guards as the real backend does, without its C++ compiler.
    compiled = []
    real = torch.compile

    def traced(function, **options):
        compiled.append(torch._dynamo.testing.CompileCounterWithBackend("eager"))
        return real(function, **{**options, "backend": compiled[-1]})

    monkeypatch.setattr(torch, "compile", traced)
    for arms in (
        1,
        2,
        3,
        4,
        5,
    ):  # each would add to what is kept of one function, up to PyTorch's limit
        plain, _ = fitted(arms=arms, precision=precision)
        other, _ = fitted(arms=arms, precision=precision, compile=True)
        # The whole step is one graph, for whole batches and for the last one of an epoch.
        assert compiled[-1].frame_count == 2
        torch.testing.assert_close(weights(other), weights(plain), rtol=1e-4, atol=1e-5)
