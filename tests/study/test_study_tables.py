"""Studies of tables: the encoder of rows, splits, teachers and what is refused."""

import copy
from functools import partial

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from support.studies import make_study
from support.tables import COLUMNS, table_dataset

from limbeck import Arm, Objective, Teacher
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data import Mixup, TableColumns, TransferSet, UniformNoise
from limbeck.models import MLP, TableModel, load_model
from limbeck.run.folder import RunFolder
from limbeck.run.summary import ColumnFacts, read_summary
from limbeck.training.optimizer import Optimizer

ARMS = {
    "hard": Arm(objective=Objective(hard_weight=1.0, soft_weight=0.0)),
    "soft": Arm(objective=Objective()),
}
ADAM = Optimizer(name="adam", lr=0.05)


@pytest.fixture(scope="module")
def data():
    return table_dataset(train=240, val=60, test=100)


def study(data, out, **options):
    student = partial(MLP, hidden=[8])
    defaults = {
        "teacher": Teacher(model=partial(MLP, hidden=[16]), epochs=8, batch_size=40),
        "seeds": 2,
        "epochs": 6,
        "batch_size": 40,
        "optimizer": ADAM,
        "store": {"folder": out.parent / "store"},
    }
    return make_study(data, ARMS, out, student=student, **{**defaults, **options})


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """The folder and the summary of a study with two splits."""
    out = tmp_path_factory.mktemp("table") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.study.study.write_report", lambda folder, final: None)
        return out, study(data, out, splits=2).run()


def test_students_learn_from_numbers_categories_and_gaps(data, run):
    summary = run[1]
    chance = data.test_size * float(data.open_test().labels.float().mean())
    for arm in summary.arms:
        assert arm.mean.errors < 0.5 * chance
    assert summary.comparisons[0].arm == "soft"
    facts = read_summary(RunFolder(run[0])).data.columns
    assert facts == (
        ColumnFacts(name="age"),
        ColumnFacts(name="colour", categories=3, gaps=True),
        ColumnFacts(name="income", gaps=True),
    )


def test_a_saved_student_and_teacher_predict_what_the_run_did(data, run):
    folder = RunFolder(run[0])
    predictions = np.load(folder.predictions)
    x = data.open_test().inputs
    student = load_model(folder.student("soft", 1)).model
    assert isinstance(student, TableModel)
    np.testing.assert_allclose(student(x).detach(), predictions["students/soft/seed1"], atol=1e-5)
    assert bool(load_model(folder.path / "teacher").model(x).isfinite().all())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            TableColumns(("age", "income", "colour"), (None, None, ("red", "green", "blue"))),
            r"column 1 of the teacher is colour \(categories .* table is income \(numbers\)",
        ),
        (
            TableColumns(COLUMNS.names, (None, ("red", "green", "pink"), None)),
            r"colour \(categories \['red', 'green', 'blue'\]\), but .* 'pink'\]\)",
        ),
    ],
    ids=["order", "categories"],
)
def test_a_teacher_of_other_columns_is_refused(data, run, columns, message, tmp_path):
    other = copy.copy(data)
    other.columns = columns
    for source in (run[0], run[0] / "teacher"):
        with pytest.raises(TeacherError, match=message):
            study(other, tmp_path / "run", teacher=Teacher(source=[source])).check()


def test_an_estimator_of_rows_is_a_teacher(data, tmp_path):
    is_category = [size > 0 for size in COLUMNS.sizes]
    teacher = HistGradientBoostingClassifier(max_iter=20, categorical_features=is_category)
    teacher.fit(data.train.inputs.numpy(), data.train.labels.numpy())
    summary = study(data, tmp_path / "run", teacher=teacher, seeds=1, epochs=2).run()
    x = data.open_test()
    errors = int((teacher.predict(x.inputs.numpy()) != x.labels.numpy()).sum())
    assert summary.teacher.test.errors == errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": Mixup()}, "views: mixup.* need images .*customers is a table dataset"),
        ({"trainer": {"precision": "bf16-true"}}, r"rounds .* Use bf16-mixed or 32-true"),
        ({"transfer": TransferSet(source=UniformNoise(samples=20))}, "cannot generate table"),
    ],
)
def test_what_does_not_fit_a_table_is_refused(data, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        study(data, tmp_path / "run", **options).run()


def test_a_normalisation_of_the_teacher_is_refused(data, run, tmp_path):
    teacher = Teacher(source=[run[0] / "teacher"], normalization="data")
    with pytest.raises(ConfigError, match=r"teacher\.normalization is not for tables"):
        study(data, tmp_path / "run", teacher=teacher).run()


def test_checks_of_a_study(data, run, tmp_path):
    data.test_inputs[:3] = data.train.inputs[:3]
    teacher = Teacher(source=[run[0] / "teacher"])
    findings = study(data, tmp_path / "run", teacher=teacher).examine()
    assert "3 of 100 test rows are equal to training rows" in findings[0].text
    assert {finding.subject for finding in findings} == {"data", "teacher", "loss"}
