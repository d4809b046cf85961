import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from support.onnx_files import content
from torch import nn

import limbeck
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.models import MLP, save_model
from limbeck.teacher.adapt import as_models
from limbeck.teacher.estimator import EstimatorTeacher
from limbeck.teacher.function import FunctionTeacher
from limbeck.teacher.onnx_model import OnnxTeacher

RANDOM = np.random.default_rng(0)
X = RANDOM.random((40, 16), dtype=np.float32)
Y = X[:, :3].argmax(1)
LOADER = [(torch.from_numpy(X), torch.from_numpy(Y))]
TABLE = torch.randn(16, 3, generator=torch.Generator().manual_seed(2))


def mlp():
    return MLP((16,), 3, hidden=[4])


def estimator():
    return LogisticRegression().fit(X, Y)


def function(x):
    return x @ TABLE


@pytest.fixture
def onnx_file(tmp_path):
    file = tmp_path / "teacher.onnx"
    file.write_bytes(content(shape=("N", 16)))
    return file


def test_each_form_has_its_adapter(onnx_file, tmp_path):
    module = mlp()
    save_model(module, tmp_path / "saved", class_names=list("abc"))
    models = as_models([module, (estimator(), function), onnx_file, str(tmp_path / "saved")])
    kinds = [nn.Module, EstimatorTeacher, FunctionTeacher, OnnxTeacher, MLP]
    assert all(isinstance(model, kind) for model, kind in zip(models, kinds, strict=True))
    assert models[0] is module
    assert as_models([]) == []


@pytest.mark.parametrize(
    ("teacher", "error", "message"),
    [
        (LogisticRegression, ConfigError, "the class LogisticRegression.*Pass an object"),
        (3, ConfigError, "of type int; expected a torch.nn.Module, an estimator"),
        (None, ConfigError, "of type NoneType"),
        (LinearSVC(), TeacherError, "LinearSVC has no predict_proba.*CalibratedClassifierCV"),
    ],
)
def test_what_is_no_teacher(teacher, error, message):
    with pytest.raises(error, match=message):
        as_models([teacher])


@pytest.mark.parametrize("kind", ["estimator", "function", "file", "list"])
def test_distill_and_a_loop_of_ones_own_take_every_form(kind, onnx_file):
    teachers = {
        "estimator": estimator(),
        "function": function,
        "file": str(onnx_file),
        "list": [mlp(), onnx_file, function],
    }
    teacher = teachers[kind]
    student = mlp()
    before = student.layers[-1].weight.clone()
    limbeck.distill(student, teacher, LOADER, epochs=1, hard_weight=0.0, progress=False)
    assert not torch.equal(before, student.layers[-1].weight)
    module = limbeck.DistillationModule(mlp(), teacher)
    assert module.task(LOADER[0]).isfinite()


def test_a_function_takes_the_inputs_of_a_loader_of_dictionaries():
    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(9, 3)

        def forward(self, input_ids, attention_mask):
            return (self.embedding(input_ids) * attention_mask[..., None]).sum(1)

    def counts(input_ids, attention_mask):
        calls.append(set(attention_mask.unique().tolist()))
        return torch.stack([(input_ids % 3 == c).sum(1) for c in range(3)], 1).float()

    calls = []
    ids = torch.randint(9, (8, 5))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 3}
    limbeck.distill(Student(), counts, [batch], epochs=1, progress=False)
    assert calls == [{1}]


def test_what_a_student_learns_from_an_estimator_is_its_probabilities():
    """With the hard loss left out, a linear student of a logistic regression becomes it."""
    torch.manual_seed(0)
    student, teacher = nn.Linear(16, 3), estimator()
    settings = {"hard_weight": 0.0, "temperature": 1.0, "lr": 0.1}
    limbeck.distill(student, teacher, LOADER, epochs=100, progress=False, **settings)
    with torch.no_grad():
        p = student(torch.from_numpy(X)).softmax(-1).numpy()
    np.testing.assert_allclose(p, teacher.predict_proba(X), atol=0.02)


def test_a_teacher_of_other_classes_is_one_message():
    other = LogisticRegression().fit(X, np.minimum(Y, 1))
    with pytest.raises(TeacherError, match="classes"):
        limbeck.distill(mlp(), other, LOADER, epochs=1, progress=False)
