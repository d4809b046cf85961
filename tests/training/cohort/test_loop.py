"""The training loop: what it computes and where it stops."""

import copy

import pytest
import torch
import torch._dynamo.testing
from support.plain_loop import Loader, far, trainer
from torch import nn

from limbeck import DistillationModule
from limbeck._base.errors import DivergedError
from limbeck.data import Affine, Chain, Dataset, Elastic, Shift, TransferSet
from limbeck.data.study_data import StudyData
from limbeck.losses import Objective
from limbeck.models import MLP
from limbeck.teacher.signal import StoredTeacher
from limbeck.training.cohort import loop
from limbeck.training.cohort.stack import Cohort
from limbeck.training.csv_logger import CSVLogger
from limbeck.training.fit import Loaders, fit
from limbeck.training.loggers import gather_scalars
from limbeck.training.optimizer import Optimizer
from limbeck.training.options import TrainerOptions
from limbeck.training.task import DistillationTask

SHAPE = (1, 6, 6)
BATCH_SIZE = 32
STEPS = 6
"""Steps of an epoch."""


def dataset():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (230, *SHAPE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (230,), generator=generator)
    return Dataset.from_arrays(
        images[:200], labels[:200], images[200:], labels[200:], class_names=list("abc"), val=30
    )


def student(seed, **options):
    torch.manual_seed(seed)
    return MLP(SHAPE, 3, hidden=[8], **{"dropout": 0.2, **options})


def cohort(arms=2, **options):
    return Cohort([[student(seed, **options) for seed in (0, 1)] for _ in range(arms)])


def settings_of(arms, optimizer):
    """What the students of :func:`cohort` learn from, and how."""
    answers = torch.randn(170, 16, 3, generator=torch.Generator().manual_seed(2))
    objectives = [Objective(temperature=2.0 + arm) for arm in range(arms)]
    return (StoredTeacher(answers), objectives), {
        "optimizer": optimizer or Optimizer(schedule="one_cycle", lr=0.01),
        "arm_names": [f"arm{arm}" for arm in range(arms)],
        "seeds": [0, 1],
    }


def batches(views=None):
    return StudyData(
        dataset(),
        seeds=[0, 1],
        batch_size=BATCH_SIZE,
        views=views or Shift(1),
        transfer=TransferSet(labelled=50),
    )


def trained(*, arms=2, epochs=3, optimizer=None, views=None, model=None, **options):
    """Students trained by the loop, and the number of steps; ``model`` has options of students."""
    positional, keywords = settings_of(arms, optimizer)
    task = DistillationTask(cohort(arms, **(model or {})), *positional, **keywords)
    settings = TrainerOptions.of({"accelerator": "cpu", "max_epochs": epochs, **options})
    steps = fit(task, batches(views), options=settings)
    return task, steps


def weights(task):
    return [p.detach().clone() for p in task.cohort.parameters()]


def alike(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


class Epochs:
    """Batches of a study as a loader for Lightning's Trainer."""

    def __init__(self, data, fitter):
        self.data, self.fitter = data, fitter

    def __len__(self):
        return len(self.data.train_batches(torch.device("cpu")))

    def __iter__(self):
        self.data.set_epoch(self.fitter.current_epoch)
        return iter(self.data.train_batches(torch.device("cpu")))


# What it computes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true", "bf16-true"])
def test_students_are_bit_for_bit_those_of_lightnings_trainer(precision):
    # Elastic views compute, and should do so in float32 under any precision.
    views = Chain([Affine(), Elastic()]).limited(16)
    task, steps = trained(views=views, precision=precision, model={"max_norm": 0.5})
    positional, keywords = settings_of(2, None)
    module = DistillationModule(cohort(max_norm=0.5), *positional, **keywords)
    fitter = trainer(precision=precision, max_epochs=3)
    fitter.fit(module, Epochs(batches(views), fitter))
    assert alike(task, module)
    assert steps == fitter.global_step == 3 * STEPS


def test_logged_scalars_are_those_of_lightnings_trainer(tmp_path):
    positional, keywords = settings_of(2, None)
    task = DistillationTask(cohort(), *positional, **keywords)
    options = TrainerOptions(accelerator="cpu", max_epochs=2)
    fit(task, batches(), options=options, loggers=[CSVLogger(tmp_path, "cohort0")])
    logged = {
        f"{row['arm']}/seed{row['seed']}/{row['metric']}": row["value"]
        for row in gather_scalars(tmp_path)
        if row["epoch"] == 1
    }
    module = DistillationModule(cohort(), *positional, **keywords)
    fitter, data = trainer(max_epochs=2), batches()
    fitter.fit(module, Epochs(data, fitter), Loader(data.val_batches(torch.device("cpu"))))
    expected = {name: float(value) for name, value in fitter.callback_metrics.items()}
    assert logged == pytest.approx(expected, rel=1e-6)
    assert len(logged) == 2 * 2 * 5


def test_clipping_leaves_a_small_gradient_alone_and_stops_a_tiny_bound():
    task, _ = trained(epochs=1)
    assert alike(trained(epochs=1, gradient_clip_val=1e6)[0], task)
    sgd = Optimizer(name="sgd", lr=1.0)
    for algorithm in ("norm", "value"):
        still, _ = trained(
            epochs=1,
            optimizer=sgd,
            gradient_clip_val=1e-9,
            gradient_clip_algorithm=algorithm,
        )
        for result, expected in zip(weights(still), cohort().parameters(), strict=True):
            torch.testing.assert_close(result, expected.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [True, False])
def test_accumulated_gradients_are_those_of_one_large_batch(length):
    x = torch.randn(40, *SHAPE, generator=torch.Generator().manual_seed(0))
    y = torch.arange(40) % 3

    def train(size, parts):
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
        pairs = list(zip(x.split(size), y.split(size), strict=True))
        loader = Loader(pairs) if length else Streamed(pairs)
        sgd = Optimizer(name="sgd", lr=0.1)
        options = TrainerOptions(
            accelerator="cpu", max_epochs=2, accumulate_grad_batches=parts, precision="64-true"
        )
        steps = fit(DistillationTask(model, optimizer=sgd), Loaders(loader), options=options)
        return model, steps

    (whole, steps), (parts, others) = train(20, 1), train(10, 2)
    assert steps == others == 4
    assert far(parts, whole) < 1e-6
    # The last step of an epoch has the remaining batches: 3 and 1 of 4.
    (whole, steps), (parts, others) = train([30, 10], 1), train(10, 3)
    assert steps == others == 4
    assert far(parts, whole) < 1e-6


class Streamed:
    """A loader without a length."""

    def __init__(self, content):
        self.content = content

    def __iter__(self):
        return iter(self.content)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_compiled_steps_give_the_same_students(monkeypatch, precision):
    # "eager" traces and guards as the real backend does, without its C++ compiler.
    counters = []
    compile = torch.compile

    def traced(function, **options):
        counters.append(torch._dynamo.testing.CompileCounterWithBackend("eager"))
        return compile(function, **{**options, "backend": counters[-1]})

    monkeypatch.setattr(torch, "compile", traced)
    for arms, dropout in ((1, 0.0), (2, 0.0), (2, 0.2)):
        options = {"arms": arms, "epochs": 2, "precision": precision, "model": {"dropout": dropout}}
        plain, _ = trained(**options)
        compiled, _ = trained(**options, compile=True)
        if not dropout:  # whose random numbers are drawn between graphs
            # The whole step is one graph, for full batches and for the last one of an epoch.
            assert counters[-1].frame_count == 2
        torch.testing.assert_close(weights(compiled), weights(plain), rtol=1e-4, atol=1e-5)


# Where it stops -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_steps": 7}, 7),
        ({"max_steps": -1}, 3 * STEPS),
        ({"limit_train_batches": 2}, 3 * 2),
        ({"limit_train_batches": 1}, 3),
        ({"limit_train_batches": 0.5}, 3 * 3),
        ({"limit_train_batches": 1.0}, 3 * STEPS),
        ({"limit_train_batches": 1000}, 3 * STEPS),
        ({"accumulate_grad_batches": 4}, 3 * 2),
    ],
    ids=str,
)
def test_limits_on_steps_hold(options, steps):
    assert trained(**options)[1] == steps


def test_validation_can_be_rare_and_short(tmp_path):
    task = DistillationTask(student(0), seeds=[0], arm_names=["a"])
    data = StudyData(dataset(), seeds=[0], batch_size=BATCH_SIZE)
    options = TrainerOptions(accelerator="cpu", max_epochs=4, check_val_every_n_epoch=2)
    fit(task, data, options=options, loggers=[CSVLogger(tmp_path, "cohort0")])
    rows = gather_scalars(tmp_path)
    assert {row["epoch"] for row in rows if row["metric"] == "val_loss"} == {1, 3}
    assert {row["epoch"] for row in rows if row["metric"] == "train_loss"} == {0, 1, 2, 3}


def test_a_training_stops_once_all_students_diverged():
    wild = Optimizer(name="sgd", lr=1e30)
    with pytest.raises(DivergedError, match=r"the loss of arm0/seed0 was (nan|inf) in epoch \d"):
        trained(epochs=50, optimizer=wild)


def test_an_interruption_within_an_epoch_stops_at_once():
    read = []

    class Interrupted:
        def __len__(self):
            return 1000

        def __iter__(self):
            for number in range(1000):
                read.append(number)
                if number == 5:
                    raise SystemExit(143)
                yield torch.rand(4, *SHAPE), torch.zeros(4, dtype=torch.int64)

    task = DistillationTask(student(0))
    with pytest.raises(SystemExit):
        fit(task, Loaders(Interrupted()), options=TrainerOptions(accelerator="cpu", max_epochs=2))
    assert len(read) == 6


def test_progress_is_shown_within_an_epoch(monkeypatch):
    monkeypatch.setattr(loop, "PROGRESS_SECONDS", 0.0)
    reports = []
    task = DistillationTask(student(0))
    data = StudyData(dataset(), seeds=[0], batch_size=BATCH_SIZE)
    fit(
        task,
        data,
        options=TrainerOptions(accelerator="cpu", max_epochs=2),
        advance=lambda done, note="": reports.append((done, note)),
    )
    amounts = [done for done, _ in reports]
    assert amounts == sorted(amounts)
    assert amounts[-1] == 2
    assert len(reports) == 2 * (STEPS + 1)
    assert reports[-1][1].startswith("validation error")


def test_layers_keep_their_modes_through_validation():
    model = student(0)
    frozen = next(m for m in model.modules() if isinstance(m, nn.Dropout))
    frozen.eval()
    before = copy.deepcopy([m.training for m in model.modules()])
    data = StudyData(dataset(), seeds=[0], batch_size=BATCH_SIZE)
    fit(DistillationTask(model), data, options=TrainerOptions(accelerator="cpu", max_epochs=1))
    assert [m.training for m in model.modules()] == before
