"""The LightningModule with the user's own Trainer, loaders and callbacks."""

import copy

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from support.module_nets import CLASSES, batches, net, sgd, teacher_net
from support.plain_loop import Loader, far, loss_terms, same, train_alone, trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers.modeling_outputs import SequenceClassifierOutput

from limbeck import DistillationModule, Objective
from limbeck._base.errors import ConfigError, DataError, DivergedError, TeacherError
from limbeck.data.batches import Batch
from limbeck.models import MLP
from limbeck.training.cohort.stack import Cohort


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


def test_unlabelled_samples_count_in_the_soft_loss_alone(data):
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


def test_a_batch_without_labels_is_learnt_from_the_teacher(data):
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


def test_the_teacher_is_neither_changed_nor_saved(data, val_data, tmp_path):
    teacher = teacher_net().train()
    before = copy.deepcopy(teacher)
    student = net(0)
    module = DistillationModule(student, teacher)
    keeper = ModelCheckpoint(tmp_path, filename="last")
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
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
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
    with pytest.raises(ConfigError, match="one objective for each of 2 arms, got 1"):
        DistillationModule(cohort, None, hard)
    with pytest.raises(ConfigError, match="got 1 names"):
        DistillationModule(cohort, None, [hard, hard], arm_names=["a"])
    with pytest.raises(ConfigError, match="2 seeds"):
        DistillationModule(cohort, None, [hard, hard], seeds=[0, 1])


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


def test_a_single_student_that_diverges_stops_training(data):
    module = DistillationModule(net(0), optimizer=lambda p: torch.optim.SGD(p, lr=1e30))
    with pytest.raises(DivergedError, match=r"the loss of the student was (nan|inf) in epoch \d"):
        trainer(max_epochs=5).fit(module, DataLoader(data, 16))


def test_a_sample_that_is_not_a_number_is_named(data):
    x, y = data.tensors
    x = x.clone()
    x[5] = torch.inf
    with pytest.raises(DataError, match="Sample 5 of the loader's dataset contains inf"):
        trainer(max_epochs=2).fit(
            DistillationModule(net(0)), DataLoader(TensorDataset(x, y), 16, shuffle=True)
        )


def test_a_batch_of_another_form_is_refused(data):
    with pytest.raises(DataError, match="with the keys x, of which none may be the labels"):
        trainer(max_epochs=1).fit(DistillationModule(net(0)), Loader([{"x": data.tensors[0]}]))


def test_the_logged_hard_loss_is_the_mean_over_labelled_samples(data):
    (x, y), *others = batches(data, 16)
    unlabelled = [(inputs, torch.full_like(labels, -100)) for inputs, labels in others]
    expected = F.cross_entropy(net(0)(x), y).item()
    fitter = trainer(max_epochs=1)
    fitter.fit(DistillationModule(net(0), optimizer=sgd(0.0)), Loader([(x, y), *unlabelled]))
    assert float(fitter.callback_metrics["train_hard"]) == pytest.approx(expected, rel=1e-6)


def cross_entropy_and_accuracy(student, x, y):
    with torch.no_grad():
        logits = student(x)
    return F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item()


def test_lightning_tests_and_predicts_as_with_any_module(data, val_data):
    module, (x, y) = DistillationModule(net(0), teacher_net()), val_data.tensors
    loss, accuracy = cross_entropy_and_accuracy(net(0), x, y)
    [result] = trainer().test(module, DataLoader(val_data, 10), verbose=False)
    assert result == pytest.approx({"test_loss": loss, "test_acc": accuracy}, rel=1e-5)
    for dataset in (val_data, TensorDataset(x)):
        parts = trainer().predict(module, DataLoader(dataset, 10))
        torch.testing.assert_close(torch.cat(parts), net(0)(x))
    [alone] = trainer().predict(module, Loader([x]))
    torch.testing.assert_close(alone, net(0)(x))


def test_several_validation_loaders_have_the_names_of_lightning(data, val_data):
    module = DistillationModule(net(0), optimizer=sgd(1e-30))
    loaders = [DataLoader(val_data, 10), DataLoader(data, 16)]
    fitter = trainer(max_epochs=1)
    fitter.fit(module, DataLoader(data, 16), loaders)
    for number, tensors in enumerate((val_data.tensors, data.tensors)):
        loss, accuracy = cross_entropy_and_accuracy(net(0), *tensors)
        metrics = fitter.callback_metrics
        assert float(metrics[f"val_loss/dataloader_idx_{number}"]) == pytest.approx(loss, rel=1e-5)
        assert float(metrics[f"val_acc/dataloader_idx_{number}"]) == pytest.approx(accuracy)
    assert "val_loss" not in fitter.callback_metrics


def test_bounds_apply_after_steps_and_not_after_accumulated_batches(data):
    def trained(size, accumulate):
        torch.manual_seed(0)
        student = MLP((3, 2, 2), CLASSES, hidden=[8], max_norm=0.5)
        with torch.no_grad():
            student.layers[1].weight.mul_(10)  # the first step starts out of bounds
        module = DistillationModule(student, optimizer=sgd())
        fitter = trainer(max_epochs=1, accumulate_grad_batches=accumulate)
        fitter.fit(module, DataLoader(TensorDataset(*(t[:48] for t in data.tensors)), size))
        return student

    assert far(trained(16, 3), trained(48, 1)) < 1e-5


class Wrapped(nn.Module):
    """A model that returns what a function makes of its logits."""

    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = net(0), wrap

    def forward(self, x):
        return self.wrap(self.net(x))


def test_outputs_with_logits_train_the_same_student(data):
    student = Wrapped(lambda logits: {"logits": logits, "loss": None})
    teacher = Wrapped(lambda logits: SequenceClassifierOutput(logits=logits))
    plain = net(0)
    for model, signal in ((plain, teacher.net), (student, teacher)):
        module = DistillationModule(model, copy.deepcopy(signal))
        trainer(max_epochs=2).fit(module, DataLoader(data, 16))
    assert same(student.net, plain)


def test_a_model_without_logits_is_refused(data):
    module = DistillationModule(Wrapped(lambda logits: None))
    with pytest.raises(ConfigError, match="The student returned None"):
        trainer(max_epochs=1).fit(module, DataLoader(data, 16))
    module = DistillationModule(net(0), Wrapped(lambda logits: (logits.sum(), [logits])))
    with pytest.raises(TeacherError, match=r"The teacher returned a tuple \(Tensor, list\)"):
        trainer(max_epochs=1).fit(module, DataLoader(data, 16))


def test_float16_is_for_students_alone(data):
    """Its loss scale would let a student that diverges stop the others."""

    def fit_with_scaler(module, batches):
        precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
        trainer(max_epochs=1, plugins=[precision]).fit(module, batches)

    student = net(0)
    fit_with_scaler(DistillationModule(student), DataLoader(data, 16))
    assert not same(student, net(0))
    x, y = data.tensors
    module = DistillationModule(
        Cohort([[net(0), net(1)]]), None, Objective(hard_weight=1, soft_weight=0)
    )
    with pytest.raises(ConfigError, match=r"precision=16-mixed has one loss scale.*bf16-mixed"):
        fit_with_scaler(module, Loader([Batch(x.expand(2, *x.shape), y.expand(2, -1))]))
