"""Answers of a teacher that are no distribution, while students learn from them."""

import math

import pytest
import torch
from torch import nn

import limbeck
from limbeck._base.errors import DataError, TeacherError
from limbeck.data.batches import Batch
from limbeck.losses import Objective
from limbeck.models import MLP
from limbeck.teacher import answers
from limbeck.teacher.answers import AnswerCheck
from limbeck.training.module import DistillationModule

X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
LOADER = [(X[i : i + 4], torch.arange(4) % 3) for i in (0, 4, 8)]


class Spoilt(nn.Module):
    """A teacher whose logits have a value for the inputs with a large first feature."""

    def __init__(self, value, classes=slice(0, 3)):
        super().__init__()
        self.layer, self.value, self.classes = nn.Linear(6, 3), value, classes

    def forward(self, x):
        z = self.layer(x).clone()
        z[x[:, 0] > 5, self.classes] = self.value
        return z


def spoilt_loader(row):
    x = X.clone()
    x[row, 0] = 9.0
    return [(x[i : i + 4], y) for i, (_, y) in zip((0, 4, 8), LOADER, strict=True)]


def distill(teacher, loader, **settings):
    return limbeck.distill(nn.Linear(6, 3), teacher, loader, epochs=1, progress=False, **settings)


@pytest.fixture(params=[False, True], ids=["at once", "after the epoch"])
def deferred(request, monkeypatch):
    """The error as on one CPU, and as on an accelerator or of several processes."""
    monkeypatch.setattr(answers, "_shares_batches", lambda: request.param)


@pytest.mark.parametrize(
    ("value", "classes"),
    [(math.nan, slice(1, 2)), (math.inf, slice(1, 2)), (-math.inf, slice(0, 3))],
)
@pytest.mark.parametrize("settings", [{}, {"soft": "reverse_kl", "hard_weight": 0.0}])
def test_an_answer_that_is_no_distribution_is_named(deferred, value, classes, settings):
    message = r"teacher's logits of sample 2 of batch 1 of the loader are not finite"
    with pytest.raises(TeacherError, match=message) as caught:
        distill(Spoilt(value, classes), spoilt_loader(6), **settings)
    assert caught.value.exit_code == 4


def test_the_first_of_several_answers_is_named(deferred):
    loader = spoilt_loader(6)
    loader[2][0][1, 0] = loader[1][0][3, 0] = 9.0
    with pytest.raises(TeacherError, match="sample 2 of batch 1 "):
        distill(Spoilt(math.nan), loader)


def test_an_input_that_is_no_number_is_not_blamed_on_the_teacher(deferred):
    loader = spoilt_loader(6)
    loader[1][0][2, 3] = math.nan
    with pytest.raises(DataError, match="Sample 2 of batch 1 of the loader contains nan"):
        distill(nn.Linear(6, 3), loader)


def test_excluded_classes_are_valid_but_for_the_squared_error_of_logits(deferred):
    teacher = Spoilt(-math.inf, slice(1, 2))
    assert distill(teacher, spoilt_loader(6)).weight.isfinite().all()
    with pytest.raises(TeacherError, match=r"sample 2 of batch 1 .*objective\.soft=logits.*as kl"):
        distill(teacher, spoilt_loader(6), soft="logits")


def test_a_resumed_check_counts_the_batches_from_the_start_of_the_epoch(deferred):
    check, resumed = AnswerCheck(), AnswerCheck()
    batch = Batch(torch.ones(1, 4, 6), torch.zeros(1, 4, dtype=torch.long))
    for _ in range(2):
        check.add(torch.zeros(1, 4, 3), batch)
    resumed.load_state_dict(check.state_dict(), torch.device("cpu"))

    def read_bad_answer():
        resumed.add(torch.full((1, 4, 3), math.nan), batch)
        resumed.check_record(lambda values: values)

    with pytest.raises(TeacherError, match="sample 0 of batch 2 "):
        read_bad_answer()


def test_weights_that_are_not_finite_are_named_before_the_training():
    teacher = nn.Sequential(nn.Linear(6, 3))
    with torch.no_grad():
        teacher[0].weight[0, 0] = math.nan
    with pytest.raises(TeacherError, match=r"1 of 18 values of 0\.weight are infinite or not a"):
        distill(teacher, LOADER)


def test_rows_and_tokens_of_a_study_are_named():
    x, y = torch.zeros(2, 3, 5, dtype=torch.long), torch.zeros(2, 3, 5, dtype=torch.long)
    logits = torch.zeros(2, 3, 5, 4)
    logits[1, 2, 4, 0] = math.nan
    batch = Batch(x, y, sample=torch.tensor([[7, 8, 9], [10, 11, 12]]))
    with pytest.raises(TeacherError, match="logits of training sample 12, token 4, are not"):
        AnswerCheck().add(logits, batch)
    with pytest.raises(TeacherError, match="logits of training sample 12, token 4, are not"):
        AnswerCheck().add(logits.flatten(0, 2)[None, 20:], batch, first=20)
    y[1, 2, 4] = -100  # padding
    AnswerCheck().add(logits, batch)


@pytest.mark.parametrize("samples", [4, 0])  # the last batch may have none for a process
def test_an_error_of_another_process_is_raised_in_all(monkeypatch, samples):
    monkeypatch.setattr(answers, "_shares_batches", lambda: True)
    check = AnswerCheck()
    y = torch.zeros(1, samples, dtype=torch.long)
    check.add(torch.zeros(1, samples, 3), Batch(X[None, :samples], y))
    check.check_record(lambda values: values)
    with pytest.raises(TeacherError, match="logits of a sample of another process"):
        check.check_record(lambda values: values + 1)


def test_a_module_in_a_trainer_names_a_bad_input():
    batch = spoilt_loader(6)[1]
    batch[0][2, 3] = math.inf
    task = DistillationModule(nn.Linear(6, 3), nn.Linear(6, 3)).task
    with pytest.raises(DataError, match="Sample 2 of batch 0 of the loader has an input that is"):
        task(batch)


# Models that a teacher shares with its student ----------------------------------------------------


class Tower(nn.Module):
    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x):
        return self.head(self.body(x))


def tied():
    student, teacher = nn.Linear(6, 3), nn.Linear(6, 3)
    teacher.weight.data = student.weight.data
    return student, teacher


def shared_statistics():
    norm = nn.BatchNorm1d(6, affine=False)
    return Tower(norm, nn.Linear(6, 3)), Tower(norm, nn.Linear(6, 3))


def shared_dropout():
    dropout = nn.Dropout(0.5)
    return Tower(dropout, nn.Linear(6, 3)), Tower(dropout, nn.Linear(6, 3))


def shared_layer():
    body = nn.Linear(6, 4)
    return Tower(body, nn.Linear(4, 3)), Tower(body, nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (shared_layer, r"body\.weight of the teacher is body\.weight of the student"),
        (shared_statistics, r"body\.running_mean of the teacher is body\.running_mean of"),
        (shared_dropout, "body of the teacher is body of the student"),
        (tied, "weight of the teacher is weight of the student"),
    ],
)
def test_a_teacher_that_shares_parts_with_its_student_is_refused(make, message):
    student, teacher = make()
    with pytest.raises(TeacherError, match=rf"{message}.*copy\.deepcopy\(layer\)"):
        limbeck.distill(student, teacher, LOADER, epochs=1, progress=False)
    with pytest.raises(TeacherError, match=message):
        DistillationModule(student, limbeck.teacher.signal.LiveTeacher([MLP((6,), 3), teacher]))


def test_a_teacher_that_is_the_student_is_refused():
    model = nn.Linear(6, 3)
    with pytest.raises(TeacherError, match=r"is the student itself.*copy\.deepcopy\(student\)"):
        limbeck.distill(model, model, LOADER, epochs=1, progress=False)
    with pytest.raises(TeacherError, match="is the student itself"):
        DistillationModule(Tower(nn.Identity(), model), model, Objective())


def test_a_shared_activation_is_harmless():
    activation = nn.ReLU()
    student, teacher = (Tower(activation, nn.Linear(6, 3)) for _ in range(2))
    limbeck.distill(student, teacher, LOADER, epochs=1, progress=False)
