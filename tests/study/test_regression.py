"""A regression from the data to the report: the same control, cohorts, store and verdict."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from support.regressions import ARMS, dataset, study
from torch import nn

from limbeck import Arm, Objective, Teacher
from limbeck._base.errors import ConfigError, DataError, TeacherError
from limbeck.data import Dataset, TransferSet
from limbeck.data.batches import Batch
from limbeck.evaluation.regression import squared_errors
from limbeck.models import MLP, load_model
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.study.arms import build
from limbeck.training.task import DistillationTask

OBJECTIVES = {
    **ARMS,
    "bounded": Arm(objective=Objective(soft="bounded", hard_weight=1.0, soft_weight=0.5)),
    "huber": Arm(objective=Objective(hard="huber", soft="huber")),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The data and the folder of a finished study of two targets."""
    folder = tmp_path_factory.mktemp("regression") / "run"
    data = dataset(targets=2, class_names=["length", "width"])
    study(data, folder, OBJECTIVES, margin="0.05").run()
    return data, RunFolder(folder)


def test_the_summary_holds_the_squared_errors_of_the_saved_students(run):
    data, folder = run
    summary = read_summary(folder)
    assert (summary.measure, summary.data.task, summary.classes) == (
        "squared_error",
        "regression",
        ("length", "width"),
    )
    test = data.open_test()
    for arm in summary.arms:
        for seed in arm.seeds:
            model = load_model(folder.student(arm.name, seed.seed)).model
            error = squared_errors(model(test.inputs), test.labels, data.target_scale).mean()
            assert seed.test.squared_error == pytest.approx(error.item(), rel=1e-5)


def test_the_difference_is_that_of_the_predictions(run):
    _, folder = run
    with np.load(folder.predictions) as arrays:
        scale, labels = arrays["scale"], arrays["labels"]
        errors = {
            arm: (((arrays[f"students/{arm}/seed0"] - labels) / scale) ** 2).mean()
            for arm in ("hard", "soft")
        }
    comparison = next(c for c in read_summary(folder).comparisons if c.arm == "soft")
    difference = errors["soft"] - errors["hard"]
    assert comparison.delta_squared_error.per_seed[0] == pytest.approx(difference, rel=1e-4)
    assert comparison.margin_test is not None


@pytest.mark.slow
def test_an_arm_learns_the_same_with_and_without_the_store(tmp_path):
    data = dataset()
    summaries = [study(data, tmp_path / mode, store=mode).run() for mode in ("off", "auto")]
    live, stored = (summary.arm("soft").mean.squared_error for summary in summaries)
    assert stored == pytest.approx(live, rel=1e-5)


def test_a_control_is_plain_training_on_standardised_targets():
    """The loss of the first step is that of PyTorch on standardised values."""
    data = dataset(targets=2)
    model = build(functools.partial(MLP, hidden=[4]), data, 0)
    objective = Objective(hard_weight=1.0, soft_weight=0.0).for_task(data.kind)
    task = DistillationTask(model, None, objective, scale=data.target_scale)
    x, y = data.train.inputs[:8], data.train.labels[:8]
    loss = task(Batch(x[None], y[None]))
    scale = torch.tensor(data.target_scale)
    torch.testing.assert_close(loss, nn.functional.mse_loss(model(x) / scale, y / scale))


@pytest.mark.slow
def test_the_members_of_a_teacher_are_averaged(tmp_path):
    data = dataset()

    def constant(value):
        return lambda x: torch.full((len(x), 1), value)

    teacher = [constant(99_000.0), constant(101_000.0)]
    summary = study(data, tmp_path / "run", teacher=teacher).run()
    y = data.open_test().labels
    expected = squared_errors(torch.full_like(y, 100_000.0), y, data.target_scale).mean()
    assert summary.teacher.test.squared_error == pytest.approx(float(expected))


def test_an_estimator_teaches_by_its_predictions(tmp_path):
    data = dataset(targets=2)
    x, y = data.train.inputs.numpy(), data.train.labels.numpy()
    estimator = LinearRegression().fit(x, y)
    summary = study(data, tmp_path / "run", teacher=estimator).run()
    test = data.open_test()
    values = torch.from_numpy(estimator.predict(test.inputs.numpy()))
    expected = squared_errors(values, test.labels, data.target_scale).mean()
    assert summary.teacher.test.squared_error == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.slow
def test_an_estimator_is_fitted_in_the_run_on_each_split(tmp_path):
    data = dataset()
    teacher = Teacher(estimator=LinearRegression())
    summary = study(data, tmp_path / "run", teacher=teacher, splits=2).run()
    assert summary.splits == 2
    assert summary.teacher.test.squared_error < 1
    assert summary.teacher.sd is not None


@pytest.mark.slow
def test_only_labelled_samples_count_in_the_hard_loss(tmp_path):
    data = dataset()
    few = {
        name: dataclasses.replace(arm, transfer=TransferSet(labelled=10))
        for name, arm in ARMS.items()
    }
    summary = study(data, tmp_path / "run", few).run()
    assert summary.arm("soft").transfer == "all, 10 labelled"
    index, labels = TransferSet(labelled=10).select(data.train)
    assert len(index) == len(data.train)
    assert int((~labels.isnan()).sum()) == 10


def test_a_teacher_in_other_units_is_stopped(tmp_path):
    data = dataset()
    mean, scale = (torch.tensor(part) for part in data.target_statistics)
    lookup = {
        tuple(x.tolist()): y
        for split in (data.train, data.val)
        for x, y in zip(split.inputs, split.labels, strict=True)
    }

    def standardised(x):
        rows = [lookup.get(tuple(row.tolist()), mean) for row in x]
        return (torch.stack(rows) - mean) / scale

    with pytest.raises(TeacherError, match="in another unit than the labels"):
        study(data, tmp_path / "run", teacher=standardised).run()


def test_a_file_of_labels_that_lack_a_value_is_refused():
    x, y = torch.randn(20, 3), torch.randn(20)
    y[4] = torch.nan
    with pytest.raises(DataError, match="1 of 20 samples have a target that is missing"):
        Dataset.from_arrays(x, y, x, y, task="regression")


def test_numbers_to_predict_are_no_classes():
    x, y = torch.randn(20, 3), torch.randn(20)
    with pytest.raises(DataError, match="task='regression'"):
        Dataset.from_arrays(x, y, x, y)


def test_settings_of_classes_are_refused(tmp_path):
    data = dataset()
    with pytest.raises(ConfigError, match=r"arms\.soft: objective\.soft=dkd is not for regress"):
        study(data, tmp_path / "run", {"soft": Arm(objective=Objective(soft="dkd"))})
    with pytest.raises(ConfigError, match=r"bias=prior is for classifiers"):
        study(data, tmp_path / "run", bias="prior").run()
    with pytest.raises(ConfigError, match=r"the student outputs 3 values but .* has 1 targets"):
        study(data, tmp_path / "run", student=lambda: nn.Linear(4, 3)).run()
