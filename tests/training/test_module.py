"""The LightningModule with the user's own Trainer, loaders and callbacks."""

import copy

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from support.plain_loop import Loader, far, loss_terms, same, train_alone, trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from limbeck import DistillationModule, Objective, Optimizer
from limbeck._base.errors import ConfigError, DivergedError, TeacherError
from limbeck.data.batches import Batch
from limbeck.training.cohort.stack import Cohort

CLASSES = 3


def net(seed, hidden=8):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))


def teacher_net():
    torch.manual_seed(50)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )


def samples(count, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, 2, 2, generator=draw)
    return x, (x.flatten(1) @ torch.randn(12, CLASSES, generator=draw)).argmax(1)


@pytest.fixture
def data():
    return TensorDataset(*samples(50))


@pytest.fixture
def val_data():
    return TensorDataset(*samples(23, seed=1))


def sgd(lr=0.1):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


# What is logged -----------------------------------------------------------------------------------


@pytest.mark.parametrize("with_teacher", [True, False])
def test_logged_values_equal_a_direct_computation(data, val_data, with_teacher):
    teacher = teacher_net() if with_teacher else None
    settings = {"hard_weight": 0.4, "soft_weight": 0.6, "temperature": 3.0}
    if not with_teacher:
        settings = {"hard_weight": 1.0, "soft_weight": 0.0}
    objective = Objective(**settings) if with_teacher else None
    # A learning rate of 1e-30 changes nothing, so all batches see the first weights.
    module = DistillationModule(net(0), teacher, objective, optimizer=sgd(1e-30))
    fitter = trainer(max_epochs=1)
    fitter.fit(module, DataLoader(data, 16, shuffle=True), DataLoader(val_data, 10))
    x, y = data.tensors
    with torch.no_grad():
        v = teacher.eval()(x) if with_teacher else None
        loss, hard, soft = loss_terms(net(0)(x), v, y, **settings)
        z = net(0)(val_data.tensors[0])
    expected = {
        "train_loss": loss.item(),
        "train_hard": hard.item(),
        "train_soft": soft.item(),
        "val_loss": F.cross_entropy(z, val_data.tensors[1]).item(),
        "val_acc": (z.argmax(1) == val_data.tensors[1]).float().mean().item(),
    }
    result = {name: float(value) for name, value in fitter.callback_metrics.items()}
    assert result == pytest.approx(expected, rel=1e-5)
    if with_teacher:
        assert result["train_loss"] == pytest.approx(
            0.4 * result["train_hard"] + 0.6 * result["train_soft"], rel=1e-6
        )
    else:
        assert result["train_soft"] == 0


def test_a_cohort_logs_under_arm_and_seed(data):
    x, y = data.tensors
    batch = Batch(x.expand(2, *x.shape), y.expand(2, -1))
    cohort = Cohort([[net(0), net(1)], [net(0), net(1)]])
    objectives = [Objective(hard_weight=1.0, soft_weight=0.0), Objective(temperature=2.0)]
    teacher = teacher_net()
    module = DistillationModule(
        cohort, teacher, objectives, optimizer=sgd(1e-30), arm_names=["hard", "soft"], seeds=[3, 8]
    )
    fitter = trainer(max_epochs=1)
    fitter.fit(module, Loader([batch]), Loader([batch]))
    names = ("train_loss", "train_hard", "train_soft", "val_loss", "val_acc")
    assert set(fitter.callback_metrics) == {
        f"{a}/seed{s}/{n}" for a in ("hard", "soft") for s in (3, 8) for n in names
    }
    with torch.no_grad():
        loss, hard, _ = loss_terms(net(1)(x), teacher(x), y, temperature=2.0)
    assert float(fitter.callback_metrics["soft/seed8/train_loss"]) == pytest.approx(
        loss.item(), rel=1e-5
    )
    assert float(fitter.callback_metrics["hard/seed8/train_loss"]) == pytest.approx(
        hard.item(), rel=1e-5
    )
    assert float(fitter.callback_metrics["soft/seed8/val_loss"]) == pytest.approx(
        hard.item(), rel=1e-5
    )


def test_validation_alone_logs_too(val_data):
    module = DistillationModule(net(0))
    result = trainer().validate(module, DataLoader(val_data, 10), verbose=False)[0]
    z = net(0)(val_data.tensors[0])
    assert result["val_loss"] == pytest.approx(
        F.cross_entropy(z, val_data.tensors[1]).item(), rel=1e-5
    )


# Steps --------------------------------------------------------------------------------------------


def batches(data, size, epochs=1):
    x, y = data.tensors
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)] * epochs


def test_steps_equal_a_plain_loop_with_a_teacher_that_reads_images(data):
    teacher, alone, student = teacher_net().eval(), net(0), net(0)
    train_alone(alone, batches(data, 16, 3), sgd(), teacher=teacher, temperature=2.0)
    module = DistillationModule(
        student, teacher.train(), Objective(temperature=2.0), optimizer=sgd()
    )
    trainer(max_epochs=3).fit(module, DataLoader(data, 16))
    assert far(student, alone) < 1e-5
    torch.testing.assert_close(module(data.tensors[0]), student(data.tensors[0]))


def test_accumulated_gradients_are_those_of_the_mean(data):
    x, y = data.tensors[0][:48], data.tensors[1][:48]
    small = TensorDataset(x, y)
    teacher, alone, student = teacher_net().eval(), net(0), net(0)
    train_alone(alone, batches(small, 24, 2), sgd(), teacher=teacher)
    module = DistillationModule(student, teacher, optimizer=sgd())
    trainer(max_epochs=2, accumulate_grad_batches=2).fit(module, DataLoader(small, 12))
    assert far(student, alone) < 1e-5


def test_the_unlabelled_count_in_the_soft_loss_alone(data):
    x, y = data.tensors
    y = y.clone()
    y[::2] = -100
    part = TensorDataset(x, y)
    teacher, alone, student = teacher_net().eval(), net(0), net(0)
    train_alone(alone, batches(part, 16, 2), sgd(), teacher=teacher)
    fitter = trainer(max_epochs=2)
    fitter.fit(
        DistillationModule(student, teacher, optimizer=sgd()),
        DataLoader(part, 16),
        DataLoader(part, 16),
    )
    assert far(student, alone) < 1e-5
    right = (student(x).argmax(1) == y)[1::2].float().mean().item()
    assert float(fitter.callback_metrics["val_acc"]) == pytest.approx(right)


def test_a_batch_without_any_label_is_learnt_from_the_teacher(data):
    x = data.tensors[0]
    part = TensorDataset(x, torch.full((len(x),), -100))
    teacher, alone, student = teacher_net().eval(), net(0), net(0)
    train_alone(alone, batches(part, 25, 2), sgd(), teacher=teacher)
    fitter = trainer(max_epochs=2)
    fitter.fit(DistillationModule(student, teacher, optimizer=sgd()), DataLoader(part, 25))
    assert far(student, alone) < 1e-5
    assert float(fitter.callback_metrics["train_hard"]) == 0


def test_bf16_runs_and_its_loss_is_float32(data, val_data):
    outputs = []

    class Watch(DistillationModule):
        def training_step(self, batch, batch_idx):
            assert self.cohort.student(batch[0]).dtype == torch.bfloat16
            loss = super().training_step(batch, batch_idx)
            outputs.append(loss.dtype)
            return loss

    student = net(0)
    fitter = trainer(max_epochs=2, precision="bf16-mixed")
    fitter.fit(Watch(student, teacher_net()), DataLoader(data, 16), DataLoader(val_data, 16))
    assert set(outputs) == {torch.float32}
    assert {p.dtype for p in student.parameters()} == {torch.float32}
    assert all(torch.isfinite(value) for value in fitter.callback_metrics.values())


# The teacher --------------------------------------------------------------------------------------


def test_the_teacher_is_neither_changed_nor_kept(data, val_data, tmp_path):
    teacher = teacher_net().train()
    before = copy.deepcopy(teacher)
    student = net(0)
    module = DistillationModule(student, teacher)
    keeper = ModelCheckpoint(tmp_path, filename="kept")
    fitter = trainer(max_epochs=2, callbacks=[keeper], enable_checkpointing=True)
    fitter.fit(module, DataLoader(data, 16), DataLoader(val_data, 16))
    assert same(teacher, before)
    assert all(p.grad is None for p in teacher.parameters())
    assert not any(m.training for m in teacher.modules())
    inside = {id(p) for p in module.parameters()}
    assert inside == {id(p) for p in student.parameters()}
    assert not any(m is teacher for m in module.modules())
    names = {f"cohort.student.{name}" for name in student.state_dict()}
    assert set(module.state_dict()) == names
    content = torch.load(tmp_path / "kept.ckpt", weights_only=True)
    assert set(content["state_dict"]) == names
    assert not content.get("hyper_parameters")
    sizes = sum(p.numel() for p in student.parameters())
    saved = [state["exp_avg"].numel() for state in content["optimizer_states"][0]["state"].values()]
    assert sum(saved) == sizes


def test_a_teacher_of_other_classes_is_refused(data):
    module = DistillationModule(net(0), nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES + 1)))
    with pytest.raises(TeacherError, match="teacher has 4 classes and the student 3"):
        trainer(max_epochs=1).fit(module, DataLoader(data, 16))


def test_an_objective_without_its_teacher_is_refused():
    with pytest.raises(TeacherError, match="needs a teacher"):
        DistillationModule(net(0), None, Objective())


def test_numbers_of_objectives_names_and_seeds_must_fit():
    cohort = Cohort([[net(0)], [net(0)]])
    hard = Objective(hard_weight=1.0, soft_weight=0.0)
    with pytest.raises(ConfigError, match="2 arms need as many objectives; found 1"):
        DistillationModule(cohort, None, hard)
    with pytest.raises(ConfigError, match="got 1 names"):
        DistillationModule(cohort, None, [hard, hard], arm_names=["a"])
    with pytest.raises(ConfigError, match="2 seeds"):
        DistillationModule(cohort, None, [hard, hard], seeds=[0, 1])


# Callbacks, optimizers, schedules -----------------------------------------------------------------


def test_early_stopping_and_checkpoints_watch_val_loss(data, val_data, tmp_path):
    stop = EarlyStopping("val_loss", patience=1, min_delta=1e9)
    best = ModelCheckpoint(tmp_path, monitor="val_loss", filename="{epoch}")
    fitter = trainer(max_epochs=10, callbacks=[stop, best], enable_checkpointing=True)
    fitter.fit(
        DistillationModule(net(0), teacher_net()), DataLoader(data, 16), DataLoader(val_data, 16)
    )
    assert fitter.current_epoch == 2
    assert best.best_model_score == pytest.approx(
        float(fitter.callback_metrics["val_loss"]), rel=0.5
    )
    other = DistillationModule(net(5), teacher_net())
    other.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    assert not same(other.cohort.student, net(5))


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
        ({"lr": 0}, "optimizer.lr=0 would never learn"),
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


# Divergence ---------------------------------------------------------------------------------------


def test_divergence_names_arm_seed_and_epoch_and_stops_only_when_all_diverged(data):
    x, y = data.tensors
    bad = net(1)
    with torch.no_grad():
        bad[1].weight.fill_(float("nan"))
    hard = Objective(hard_weight=1.0, soft_weight=0.0)
    batch = Batch(x.expand(2, *x.shape), y.expand(2, -1))

    def module_of(members):
        return DistillationModule(
            Cohort(members), None, [hard, hard], arm_names=["fine", "wild"], seeds=[4, 7]
        )

    module = module_of([[net(0), net(1)], [net(0), bad]])
    trainer(max_epochs=2).fit(module, Loader([batch]))
    [(arm, seed, sentence)] = module.diverged
    assert (arm, seed) == (1, 1)
    assert sentence.startswith(
        "Training diverged: the loss of wild/seed7 was nan in epoch 1. Lower optimizer.lr"
    )
    module = module_of([[bad, bad], [bad, bad]])
    with pytest.raises(
        DivergedError, match=r"the loss of fine/seed4 was nan in epoch 1\. Lower optimizer\.lr"
    ):
        trainer(max_epochs=2).fit(module, Loader([batch]))


def test_divergence_of_a_single_student(data):
    module = DistillationModule(net(0), optimizer=lambda p: torch.optim.SGD(p, lr=1e30))
    with pytest.raises(DivergedError, match=r"the loss of the student was (nan|inf) in epoch \d"):
        trainer(max_epochs=5).fit(module, DataLoader(data, 16))


def test_a_batch_of_another_form_is_refused(data):
    with pytest.raises(TypeError, match=r"pair \(x, y\), got dict"):
        trainer(max_epochs=1).fit(DistillationModule(net(0)), Loader([{"x": data.tensors[0]}]))
