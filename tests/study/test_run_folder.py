"""A study that fails or is killed is resumed, and ends as if it had never stopped."""

import gc
from functools import partial

import pytest
import torch
from support.image_studies import (
    HARD,
    Killed,
    WithBatchNorm,
    dataset,
    interrupt,
    manifest,
    own,
    same_students,
    scalars,
    study_of,
    teacher_model,
)

from limbeck import Arm, Objective, Optimizer, Teacher
from limbeck._base.errors import (
    ConfigError,
    DataError,
    DivergedError,
    TeacherError,
)
from limbeck.data import Shift
from limbeck.models import MLP
from limbeck.study import run_folder
from limbeck.study.engine import Engine
from limbeck.study.options import RunOptions


def test_a_diverging_study_fails_with_the_reason(data, tmp_path):
    out = tmp_path / "run"
    study = study_of(data, out, optimizer=Optimizer(name="sgd", lr=1e30))
    with pytest.raises(DivergedError, match=r"the loss of hard/seed0 was (nan|inf) in epoch"):
        study.run()
    assert manifest(out)["state"] == "failed"
    assert manifest(out)["error"].startswith("DivergedError: Training diverged")
    assert not (out / "summary.json").exists()


SPLIT = {
    "hard": Arm(objective=HARD),
    "soft": Arm(objective=Objective()),
    "wide": Arm(objective=HARD, student=own(9)),
}


@pytest.mark.parametrize(
    "where",
    [
        {"stage": "teacher0"},
        {"stage": "teacher0", "epoch": 2},
        {"stage": "cohort0"},
        {"stage": "cohort1"},
        {"stage": "cohort0", "epoch": 0},
        {"stage": "cohort0", "epoch": 3},
        {"stage": "cohort1", "epoch": 5},
    ],
    ids=str,
)
def test_a_resumed_study_ends_as_if_never_interrupted(data, tmp_path, monkeypatch, where, whole):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, **where)
        with pytest.raises(Killed):
            resumable(data, out).run()
    assert manifest(out)["state"] == "failed"
    assert not (out / "predictions.npz").exists()
    torch.manual_seed(12345)
    summary = resumable(data, out, resume=True).run()
    reference, expected = whole
    assert same_students(out, reference)
    assert summary.arms[1].seeds == expected.arms[1].seeds
    assert scalars(out) == scalars(reference)
    assert manifest(out)["resumed"] == 1
    assert manifest(out)["state"] == "finished"
    assert "error" not in manifest(out)
    assert not (out / "checkpoints").exists()


def resumable(data, out, **options):
    """A study with dropout, a teacher that it trains and two cohorts."""
    teacher = Teacher(model=partial(MLP, hidden=[8], dropout=0.3, max_norm=1.0), epochs=4)
    return study_of(data, out, SPLIT, teacher=teacher, epochs=6, views=Shift(1), **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, resumable(dataset(), out).run()


def test_students_with_batchnorm_are_resumed(data, tmp_path, monkeypatch):
    options = {"student": WithBatchNorm, "epochs": 4}
    study_of(data, tmp_path / "whole", **options).run()
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort2", epoch=2)
        with pytest.raises(Killed):
            study_of(data, tmp_path / "run", **options).run()
    study_of(data, tmp_path / "run", resume=True, **options).run()
    assert same_students(tmp_path / "run", tmp_path / "whole")
    assert scalars(tmp_path / "run") == scalars(tmp_path / "whole")


def test_finished_stages_are_not_trained_again(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort1", epoch=1)
        with pytest.raises(Killed):
            resumable(data, out).run()
    before = (out / "teacher" / "model.safetensors").stat().st_mtime_ns
    stages = []
    fit = Engine.fit

    def fit_and_record(self, job):
        stages.append(job.stage)
        fit(self, job)

    monkeypatch.setattr(Engine, "fit", fit_and_record)
    resumable(data, out, resume=True).run()
    assert stages == ["cohort1"]
    assert (out / "teacher" / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_without_a_run_is_not_resumed(data, tmp_path):
    with pytest.raises(ConfigError, match="contains no run to resume"):
        study_of(data, tmp_path / "run", resume=True).run()


def test_a_run_is_not_resumed_with_other_data(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort0")
        with pytest.raises(Killed):
            resumable(data, out).run()
    other = dataset()
    other.train.labels[0] = (other.train.labels[0] + 1) % 3
    other.class_names = ["class1", "class2", "class10"]
    message = "the data has changed since this run was started.*class_order='text'"
    with pytest.raises(DataError, match=message):
        resumable(other, out, resume=True).run()


def test_a_run_is_not_resumed_with_another_teacher(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort0")
        with pytest.raises(Killed):
            study_of(data, out).run()
    with pytest.raises(TeacherError, match="the teacher has changed since this run was started"):
        study_of(data, out, teacher=teacher_model(seed=8), resume=True).run()


def test_the_temporary_folder_of_another_process_is_swept_and_goes_with_it(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    run = run_folder.TemporaryRunFolder(tmp_path / "run", RunOptions(resume=True))
    parent = run.path.parent
    assert run.config.is_file()
    assert (parent / ".lock").is_file()  # by which later processes recognise one that was killed
    del run
    gc.collect()
    assert not parent.exists()


def test_a_run_that_is_not_on_this_machine_is_not_resumed_by_it(tmp_path):
    options = RunOptions(resume=True, trainer={"num_nodes": 2})
    with pytest.raises(ConfigError, match=r"run is not on this machine\. .* disk that they share"):
        run_folder.TemporaryRunFolder(tmp_path / "run", options)
    assert run_folder.TemporaryRunFolder(tmp_path / "run", RunOptions(resume=True)).path.parent
