"""Students guided by layers of a teacher, in the LightningModule, with one's own loaders and after
a resumption.
"""

import copy
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
from support.plain_loop import Loader, far, same, trainer
from torch import nn

import limbeck
from limbeck import DistillationModule, Objective, Optimizer
from limbeck._base.errors import ConfigError
from limbeck.data import digits
from limbeck.data.study_data import StudyData
from limbeck.losses import Feature
from limbeck.models import Normalized
from limbeck.teacher.signal import LiveTeacher, StoredTeacher
from limbeck.training.cohort.stack import Cohort
from limbeck.training.features import FeatureTerm, find_layer
from limbeck.training.fit import Loaders, fit
from limbeck.training.options import TrainerOptions
from limbeck.training.task import DistillationTask

CLASSES = 3


def convnet(seed, wide=4, dropout=0.0):
    torch.manual_seed(seed)
    body = nn.Sequential(
        nn.Conv2d(3, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(2)
    )
    return nn.Sequential(
        nn.Sequential(body, nn.ReLU(inplace=True)),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(wide * 4, CLASSES),
    )


def batches(count=3, size=8, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, size, 3, 4, 4, generator=draw)
    return [(part, torch.randint(0, CLASSES, (size,), generator=draw)) for part in x]


HINT = {"kind": "hint", "student": "0.0.0", "teacher": "0.0.0", "weight": 2.0}
ATTENTION = {"kind": "attention", "student": "0.0.2", "teacher": "0", "weight": 30.0}
BOTH = Objective(hard_weight=0.5, soft_weight=0.0, features=[HINT, ATTENTION])


def guided_by_hand(student, teacher, project, loader, *, lr, epochs):
    """The loop that a user would write: hooks on both models, SGD over student and projection."""
    layers = {}
    for name, module in (
        ("zh", student[0][0][0]),
        ("vh", teacher[0][0][0]),
        ("za", student[0][0][2]),
        ("va", teacher[0]),
    ):
        module.register_forward_hook(lambda m, i, o, name=name: layers.__setitem__(name, o.clone()))
    optimizer = torch.optim.SGD([*student.parameters(), *project.parameters()], lr=lr)
    teacher.eval()
    for _ in range(epochs):
        for x, y in loader:
            loss = 0.5 * F.cross_entropy(student(x), y)
            with torch.no_grad():
                teacher(x)
            loss = loss + 2.0 * (project(layers["zh"]) - layers["vh"]).square().mean() / 2
            q = F.adaptive_avg_pool2d(
                layers["za"].square().sum(1), layers["va"].shape[-2:]
            ).flatten(1)
            loss = (
                loss
                + 30.0
                * (1 - F.cosine_similarity(q, layers["va"].square().sum(1).flatten(1))).mean()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def test_training_equals_a_loop_written_by_hand():
    student, teacher, loader = convnet(0), convnet(9, wide=6), batches()
    alone = copy.deepcopy(student)
    module = DistillationModule(
        student, teacher, BOTH, optimizer=lambda p: torch.optim.SGD(p, lr=0.05)
    )
    module.feature_term.fit_to(loader[0][0])
    project = copy.deepcopy(module.feature_term.projections[0])
    assert tuple(project.weight.shape) == (6, 4, 1, 1)
    trainer(max_epochs=2).fit(module, Loader(loader))
    guided_by_hand(alone, copy.deepcopy(teacher), project, loader, lr=0.05, epochs=2)
    assert far(student, alone) < 1e-5
    assert far(module.feature_term.projections[0], project) < 1e-5
    assert far(student, convnet(0)) > 1e-2


def test_the_loop_and_lightnings_trainer_give_the_same_student():
    own, other = convnet(0), convnet(0)
    task = DistillationTask(own, convnet(9), BOTH, optimizer=Optimizer(lr=0.01))
    options = TrainerOptions(accelerator="cpu", max_epochs=2)
    fit(task, Loaders(batches()), options=options)
    module = DistillationModule(other, convnet(9), BOTH, optimizer=Optimizer(lr=0.01))
    trainer(max_epochs=2).fit(module, Loader(batches()))
    assert same(own, other)


def test_the_feature_term_is_logged_and_part_of_the_loss():
    module = DistillationModule(
        convnet(0), convnet(9), BOTH, optimizer=lambda p: torch.optim.SGD(p, lr=1e-30)
    )
    fitter = trainer(max_epochs=1)
    fitter.fit(module, Loader(batches()))
    result = {name: float(value) for name, value in fitter.callback_metrics.items()}
    assert result["train_feature"] > 0
    assert result["train_soft"] == 0
    assert result["train_loss"] == pytest.approx(
        0.5 * result["train_hard"] + result["train_feature"], rel=1e-5
    )
    plain = DistillationModule(
        convnet(0), convnet(9), Objective(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1)
    )
    fitter = trainer(max_epochs=1)
    fitter.fit(plain, Loader(batches()))
    assert "train_feature" not in fitter.callback_metrics


def test_distill_takes_features_and_leaves_no_trace_of_them_in_the_student():
    student, teacher = convnet(0), convnet(9, wide=6)
    names = list(student.state_dict())
    before = copy.deepcopy(teacher.state_dict())
    limbeck.distill(
        student,
        teacher,
        batches(),
        epochs=2,
        features=[Feature(**HINT), ATTENTION],
        soft_weight=0.0,
        progress=False,
    )
    assert list(student.state_dict()) == names
    assert all(not module._forward_hooks for module in [*student.modules(), *teacher.modules()])
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    plain = limbeck.distill(
        convnet(0), teacher, batches(), epochs=2, soft_weight=0.0, progress=False
    )
    assert far(student, plain) > 1e-3


def test_a_ready_optimizer_cannot_train_a_projection():
    student = convnet(0)
    for features, good in (([ATTENTION], True), ([HINT], False)):
        objective = Objective(features=features)
        module = DistillationModule(
            student, convnet(9), objective, optimizer=torch.optim.SGD(student.parameters(), lr=0.1)
        )
        if good:
            trainer(max_epochs=1).fit(module, Loader(batches()))
            continue
        with pytest.raises(ConfigError, match="the optimizer was created without it"):
            trainer(max_epochs=1).fit(module, Loader(batches()))


def test_the_probe_leaves_no_trace():
    student, teacher = convnet(0, dropout=0.5), convnet(9)
    student[0].eval()
    term = FeatureTerm([Feature(**HINT)], student, LiveTeacher(teacher), seed=3)
    before, state = copy.deepcopy(student), torch.random.get_rng_state()
    assert not term.is_fitted
    term.fit_to(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert term.is_fitted
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [m.training for m in student.modules()] == [m.training for m in before.modules()]
    assert all(
        torch.equal(a, b)
        for a, b in zip(student.state_dict().values(), before.state_dict().values(), strict=True)
    )
    assert [name for name, _ in term.named_parameters()] == [
        "projections.0.weight",
        "projections.0.bias",
    ]
    again = FeatureTerm([Feature(**HINT)], student, LiveTeacher(teacher), seed=3)
    again.fit_to(torch.zeros(1, 3, 4, 4))
    assert same(term, again)


def test_what_a_layer_gave_is_kept_before_the_next_works_in_place():
    student = nn.Sequential(
        nn.Flatten(), nn.Linear(48, 5), nn.ReLU(inplace=True), nn.Linear(5, CLASSES)
    )
    feature = Feature(kind="hint", student="1", teacher="1")
    term = FeatureTerm([feature], student, LiveTeacher(copy.deepcopy(student)))
    x = torch.randn(4, 3, 4, 4)
    with term.record_outputs():
        student(x)
        term._models[1].answer(x)
    own, other = term._pairs()[0]
    assert (own < 0).any()
    torch.testing.assert_close(own, other)


class Stopped(BaseException):
    """A kill in the middle of a training."""


def resumable(checkpoints, stop=None):
    data = digits()
    torch.manual_seed(4)
    model = limbeck.models.ConvNet(data.shape, data.classes, channels=[4, 6], strides=[1, 2])
    torch.manual_seed(5)
    teacher = limbeck.models.ConvNet(data.shape, data.classes, channels=[5], strides=[1])
    student = Normalized(model, *data.statistics)
    features = [{"kind": "hint", "student": "features.3", "teacher": "features.0"}]
    task = DistillationTask(
        student,
        Normalized(teacher, *data.statistics),
        Objective(features=features),
        seeds=[4],
        arm_names=["hints"],
        optimizer=Optimizer(lr=0.01),
    )

    def advance(done, note=""):
        if done == stop:
            raise Stopped

    with suppress(Stopped):
        fit(
            task,
            StudyData(data, seeds=[4], batch_size=400),
            options=TrainerOptions(accelerator="cpu", max_epochs=4),
            checkpoints=checkpoints,
            advance=advance,
        )
    return task


def test_a_resumed_training_has_its_projections_again(tmp_path):
    whole = resumable(tmp_path / "whole")
    half = resumable(tmp_path / "parts", stop=2)
    assert far(half.feature_term, whole.feature_term) > 1e-3
    resumed = resumable(tmp_path / "parts")
    for part in ("cohort", "feature_term"):
        one, other = (getattr(task, part).state_dict() for task in (whole, resumed))
        assert list(one) == list(other)
        assert all(torch.equal(one[name], other[name]) for name in one)


# What is refused ----------------------------------------------------------------------------------


def test_layers_behind_the_normalisation_have_both_names():
    net = convnet(0)
    model = Normalized(net, [0.0], [1.0])
    assert (
        find_layer(model, "0.0.2", "student")
        is find_layer(model, "net.0.0.2", "student")
        is net[0][0][2]
    )


def test_a_path_that_does_not_exist_names_those_that_come_near():
    model = Normalized(
        limbeck.models.ConvNet((1, 8, 8), 10, channels=[4], strides=[1]), [0.0], [1.0]
    )
    with pytest.raises(
        ConfigError, match=r"the teacher has no layer feature\.2\. Did you mean .*features\.2"
    ):
        find_layer(model, "feature.2", "teacher")
    with pytest.raises(
        ConfigError, match=r"the student has no layer xyz\. Its layers are features, head\."
    ):
        find_layer(model, "xyz", "student")
    objective = Objective(features=[{"kind": "hint", "student": "0.0.9", "teacher": "0"}])
    with pytest.raises(ConfigError, match=r"the student has no layer 0\.0\.9"):
        DistillationModule(convnet(0), convnet(1), objective)


def test_an_ensemble_a_store_and_a_stack_have_no_layers_to_read():
    objective = Objective(features=[ATTENTION])
    with pytest.raises(ConfigError, match="an ensemble of 2"):
        DistillationModule(convnet(0), LiveTeacher([convnet(1), convnet(2)]), objective)
    with pytest.raises(ConfigError, match="a store, or no teacher"):
        DistillationModule(convnet(0), StoredTeacher(torch.zeros(4, 1, CLASSES)), objective)
    flat = [nn.Sequential(nn.Flatten(), nn.Linear(48, 3)) for _ in range(2)]
    with pytest.raises(ConfigError, match="cohort of one"):
        DistillationModule(Cohort([flat]), convnet(1), objective)


def test_a_layer_that_takes_no_part_is_refused():
    student = convnet(0)
    student.spare = nn.Linear(2, 2)
    student.forward = lambda x: student[3](student[2](student[1](student[0](x))))
    objective = Objective(features=[{"kind": "hint", "student": "spare", "teacher": "0"}])
    module = DistillationModule(student, convnet(1), objective)
    with pytest.raises(ConfigError, match="the student's layer spare returned no tensor"):
        trainer(max_epochs=1).fit(module, Loader(batches()))


def test_shapes_that_cannot_be_matched_are_told_before_the_first_step():
    objective = Objective(features=[{"kind": "hint", "student": "1", "teacher": "0"}])
    module = DistillationModule(convnet(0), convnet(1), objective)
    with pytest.raises(
        ConfigError, match=r"student's 1, of shape \[B, 16\].*teacher's 0, of shape \[B, 4, 2, 2\]"
    ):
        trainer(max_epochs=1).fit(module, Loader(batches()))
