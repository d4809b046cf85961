"""A file of answers is the teacher of a study."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from support import regressions
from support.examined import linear_teacher, prototypes
from support.image_studies import (
    ARMS,
    HARD,
    Killed,
    interrupt,
    manifest,
    same_students,
    study_of,
    teacher_model,
)

from limbeck import Answers, Arm, Objective
from limbeck._base.errors import ConfigError, LimbeckWarning, TeacherError
from limbeck.data import Dataset, Shift, TransferSet
from limbeck.data.sources.noise import UniformNoise
from limbeck.models import MLP
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.study.answer_export import write_answers
from limbeck.study.arms import build
from limbeck.teacher.signal import LiveTeacher, combine_for

SOFT = {"soft": ARMS["soft"]}


@pytest.fixture(scope="session")
def live(data, tmp_path_factory):
    """Folder of a study with a live teacher, and its summary."""
    out = tmp_path_factory.mktemp("live") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.study.study.write_report", lambda folder, final: None)
        return out, study_of(data, out, store={"mode": "off"}).run()


@pytest.fixture(scope="session")
def file(data, tmp_path_factory):
    """The answers of the same teacher."""
    to = tmp_path_factory.mktemp("answers") / "answers.npz"
    write_answers(LiveTeacher(teacher_model()), data, to)
    return to


@pytest.fixture(scope="session")
def training_only(data, tmp_path_factory):
    """The same answers to training samples alone."""
    to = tmp_path_factory.mktemp("answers") / "training.npy"
    x = torch.cat([data.train.inputs, data.val.inputs])
    order = np.concatenate([data.train.sample_ids, data.val.sample_ids]).argsort()
    with torch.no_grad():
        np.save(to, teacher_model()(x.float() / 255)[order].numpy())
    return to


def test_students_equal_those_of_the_live_teacher_bit_for_bit(data, tmp_path, live, file):
    out, summary = live
    again = study_of(data, tmp_path / "run", teacher=Answers(file)).run()
    assert same_students(out, tmp_path / "run")
    assert again.teacher.test == summary.teacher.test
    assert again.teacher.val == summary.teacher.val
    assert [arm.mean for arm in again.arms] == [arm.mean for arm in summary.arms]
    assert again.answers.name == "answers.npz"
    assert again.answers.samples == 150
    assert again.teacher.name == "answers of answers.npz"
    assert read_summary(RunFolder(tmp_path / "run")) == again
    assert not (tmp_path / "run" / "teacher").exists()
    assert manifest(tmp_path / "run")["stores"] == {}


def test_answers_to_training_samples_are_enough(data, tmp_path, live, training_only):
    summary = study_of(data, tmp_path / "run", teacher=Answers(training_only)).run()
    assert summary.teacher is None
    assert any("does not answer all test samples" in text for text in summary.warnings)
    assert summary.comparisons[0].verdict == live[1].comparisons[0].verdict
    assert "teacher" not in np.load(tmp_path / "run" / "predictions.npz").files
    margin = study_of(data, tmp_path / "m", teacher=Answers(training_only), margin="10%gap")
    with pytest.raises(ConfigError, match="gap"):
        margin.check()


def test_only_the_samples_of_the_transfer_set_need_an_answer(data, tmp_path, training_only):
    few = TransferSet(samples=30)
    rows, _ = few.select(data.train, data.class_names)
    ids = data.train.sample_ids[rows.numpy()]
    np.savez(tmp_path / "few.npz", ids=ids, logits=np.load(training_only)[ids])
    teacher = Answers(tmp_path / "few.npz")
    summary = study_of(data, tmp_path / "a", SOFT, teacher=teacher, transfer=few, epochs=1).run()
    assert summary.arms[0].name == "soft"
    with pytest.raises(TeacherError, match=r"no answer for 60 of 90 training samples, such as"):
        study_of(data, tmp_path / "b", teacher=teacher).check()


def test_a_resumed_run_needs_the_same_file(data, tmp_path, live, file, monkeypatch):
    copy = tmp_path / "copy.npz"
    shutil.copy(file, copy)
    interrupt(monkeypatch, stage="cohort0", epoch=1)
    with pytest.raises(Killed):
        study_of(data, tmp_path / "run", teacher=Answers(copy)).run()
    monkeypatch.undo()
    monkeypatch.setattr("limbeck.study.study.write_report", lambda folder, final: None)
    arrays = dict(np.load(copy))
    np.savez(copy, **{**arrays, "logits": arrays["logits"] + 1})
    with pytest.raises(TeacherError, match="the teacher has changed since this run was started"):
        study_of(data, tmp_path / "run", teacher=Answers(copy), resume=True).run()
    shutil.copy(file, copy)
    study_of(data, tmp_path / "run", teacher=Answers(copy), resume=True).run()
    assert same_students(live[0], tmp_path / "run")


def test_students_learn_the_labels_of_a_teacher_by_cross_entropy(data, tmp_path):
    labels = np.full(110, -1)
    labels[data.train.sample_ids] = data.train.labels
    labels[data.val.sample_ids] = data.val.labels
    soft = Objective(temperature=1.0, hard_weight=0.0, soft_weight=1.0)
    arms = {"hard": Arm(objective=HARD), "soft": Arm(objective=soft)}
    study = study_of(data, tmp_path / "run", arms, teacher=Answers(labels))
    hard, learned = study.run().arms
    assert learned.mean.nll == pytest.approx(hard.mean.nll, abs=1e-4)
    assert learned.mean.errors == hard.mean.errors
    with pytest.raises(ConfigError, match=r"arms\.soft: .* labels, which have no temperature"):
        study_of(data, tmp_path / "b", teacher=Answers(labels)).check()
    reverse = {"soft": Arm(objective=replace(soft, soft="reverse_kl"))}
    with pytest.raises(ConfigError, match=r"objective\.soft=reverse_kl needs a value for each"):
        study_of(data, tmp_path / "c", reverse, teacher=Answers(labels)).check()


def test_the_most_probable_classes_with_a_rest_are_sparse_targets(data, tmp_path, training_only):
    p = torch.from_numpy(np.load(training_only)).softmax(-1)
    top = p.topk(1)
    file = tmp_path / "top.npz"
    np.savez(file, classes=top.indices.numpy(), probabilities=top.values.numpy())
    summary = study_of(data, tmp_path / "run", SOFT, teacher=Answers(file)).run()
    assert summary.answers.top == 1
    low = {"soft": Arm(objective=Objective(temperature=0.5))}
    with pytest.raises(ConfigError, match="Use a temperature of at least 1"):
        study_of(data, tmp_path / "b", low, teacher=Answers(file)).check()


def test_answers_to_plain_inputs_hold_for_views_on_the_users_word_alone(data, tmp_path, file):
    views = {"views": Shift(1)}
    with pytest.raises(ConfigError, match=r"views=none .* or teacher\.every_view=true"):
        study_of(data, tmp_path / "a", teacher=Answers(file), **views).check()
    teacher = Answers(file, every_view=True)
    summary = study_of(data, tmp_path / "b", SOFT, teacher=teacher, epochs=1, **views).run()
    assert summary.answers.every_view


ATTENTION = Objective(features=({"kind": "attention", "student": "net.1", "teacher": "net.1"},))
NOISE = TransferSet(source=UniformNoise(samples=20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": SOFT, "transfer": NOISE}, "no answers for the inputs of"),
        ({"arms": {"soft": Arm(objective=ATTENTION)}}, "needs layers of the teacher"),
    ],
)
def test_what_needs_a_model_is_refused(data, tmp_path, file, options, message):
    with pytest.raises(ConfigError, match=message):
        study_of(data, tmp_path / "run", teacher=Answers(file), **options).check()


def test_there_is_no_teacher_to_train(data, tmp_path, file):
    with pytest.raises(TeacherError, match="There is no teacher to train"):
        study_of(data, tmp_path / "run", teacher=Answers(file)).fit_teacher()


def test_answers_in_another_order_stop_the_run(tmp_path):
    examined = prototypes(5, val=200)
    to = tmp_path / "answers.npz"
    write_answers(LiveTeacher(linear_teacher(examined, columns=[4, 3, 2, 1, 0])), examined, to)

    def small():
        return MLP((1, 8, 8), 5, hidden=[4])

    def study(**options):
        return study_of(examined, tmp_path / "run", student=small, teacher=Answers(to), **options)

    with pytest.raises(TeacherError, match=r"reversed order.*in this order: 4, 3, 2, 1, 0"):
        study().check()
    study(check_teacher=False).check()


def test_a_run_in_place_of_a_file_is_named(data, tmp_path):
    study_of(data, tmp_path / "run").run()
    for file, advice in (("", "teacher.from="), ("predictions.npz", "limbeck answers RUN")):
        with pytest.raises(TeacherError, match=advice):
            study_of(data, tmp_path / "new", teacher=Answers(tmp_path / "run" / file)).check()


# Values and several labels ------------------------------------------------------------------------


def labels_data():
    x, y = regressions.values(120, 3)
    x_test, y_test = regressions.values(60, 3, seed=1)
    middle = y.median(0).values
    return Dataset.from_arrays(
        x, (y > middle).float(), x_test, (y_test > middle).float(), task="multi_label", val=40
    )


@pytest.mark.parametrize("kind", ["values", "labels"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.npz", "a.parquet"])
def test_students_of_values_and_labels_equal_those_of_the_live_teacher(tmp_path, kind, name):
    if name == "a.parquet":
        pytest.importorskip("pyarrow")
    data = regressions.dataset(targets=2) if kind == "values" else labels_data()
    teacher = [build(partial(MLP, hidden=[8]), data, seed).eval() for seed in (0, 1)]
    options = {"seeds": 1, "epochs": 2, "store": {"mode": "off"}}
    live = regressions.study(data, tmp_path / "live", teacher=teacher, **options).run()
    combine = combine_for(data.kind.outputs, "probabilities")
    write_answers(LiveTeacher(teacher, combine=combine), data, tmp_path / name)
    options["teacher"] = Answers(tmp_path / name)
    again = regressions.study(data, tmp_path / "again", **options).run()
    assert same_students(tmp_path / "live", tmp_path / "again")
    assert again.teacher.test == live.teacher.test
    assert again.answers.kind == ("values" if kind == "values" else "logits")


def test_values_in_another_unit_stop_the_study(tmp_path):
    data = regressions.dataset()
    np.savez(tmp_path / "a.npz", ids=np.arange(120), values=np.arange(120.0))
    study = regressions.study(data, tmp_path / "run", teacher=Answers(tmp_path / "a.npz"))
    with pytest.warns(LimbeckWarning, match="no better than predicting the mean"):
        study.run()
    ids = np.concatenate([data.train.sample_ids, data.val.sample_ids])
    labels = torch.cat([data.train.labels, data.val.labels])
    np.savez(tmp_path / "b.npz", ids=ids, values=labels / 10)
    study = regressions.study(data, tmp_path / "b", teacher=Answers(tmp_path / "b.npz"))
    with pytest.raises(TeacherError, match="in another unit than the labels"):
        study.run()
