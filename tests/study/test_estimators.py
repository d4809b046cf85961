"""Teachers that are estimators, fitted in the run."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.image_studies import ARMS, Killed, interrupt, manifest, same_students
from support.studies import make_study

from limbeck import Arm, Objective, Teacher
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data import Dataset, Shift, Split, TransferSet, UniformNoise
from limbeck.data.resampling import ResampledSplits
from limbeck.deploy.models_of_run import load_models
from limbeck.losses.features import Feature
from limbeck.models import MLP
from limbeck.study.estimators import build_estimator, fit_estimators
from limbeck.teacher.boosting import boosted_trees

TREES = HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=4, min_samples_leaf=5)


class Memory(ClassifierMixin, BaseEstimator):
    """An estimator that is sure of the samples that it was fitted on, and of no others."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        self.labels = {row.tobytes(): label for row, label in zip(x, y, strict=True)}
        return self

    def predict_proba(self, x):
        p = np.full((len(x), len(self.classes_)), 1 / len(self.classes_))
        for number, row in enumerate(x):
            if row.tobytes() in self.labels:
                p[number] = self.classes_ == self.labels[row.tobytes()]
        return p


@pytest.fixture(scope="module")
def data():
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(160, 4, generator=draw)
    x[30:40] = x[20:30]  # copies
    y = (x @ torch.randn(4, 3, generator=draw)).argmax(1)
    y[0] = 3  # class 3 may be missing from a training split
    names = ["2", "1", "0", "rare"]
    x_test, y_test = x[120:], y[120:]
    return Dataset.from_arrays(x[:120], y[:120], x_test, y_test, class_names=names, val=30)


def study_of(data, out, teacher, arms=ARMS, **options):
    student = partial(MLP, hidden=[4])
    options = {"student": student, "seeds": 2, "epochs": 2, "batch_size": 32, **options}
    options.setdefault("store", {"folder": out.parent / "store"})
    return make_study(data, arms, out, teacher=teacher, **options)


def expected_logits(split, inputs, seed=0):
    trees = HistGradientBoostingClassifier(**{**TREES.get_params(), "random_state": seed})
    trees.fit(split.inputs.numpy(), split.labels.numpy())
    p = np.zeros((len(inputs), 4), np.float32)
    p[:, trees.classes_] = trees.predict_proba(inputs.numpy())
    return torch.from_numpy(p).clamp(min=1e-7).log()


def test_it_is_fitted_on_the_training_split_and_scored(data, tmp_path):
    study_of(data, tmp_path / "run", Teacher(estimator=TREES)).run()
    logits = torch.from_numpy(np.load(tmp_path / "run" / "predictions.npz")["teacher"])
    test = data.open_test()
    torch.testing.assert_close(logits, expected_logits(data.train, test.inputs))
    files = manifest(tmp_path / "run")["files"]
    assert {"teacher/model.safetensors", "teacher/model.json"} <= files.keys()
    models, note = load_models(tmp_path / "run")
    assert [model.role for model in models] == ["control", "student"]
    assert "holds the answers to its samples alone" in note


def test_each_split_has_its_own(data):
    splits = ResampledSplits(data, [0, 1, 2, 3], 2)
    teachers = fit_estimators(Teacher(estimator=TREES, members=2), splits)
    assert [len(members) for members in teachers] == [2, 2]
    for number, members in enumerate(teachers):
        for member, model in enumerate(members):
            expected = expected_logits(
                splits.train(number), splits.pool.inputs, seed=2 * number + member
            )
            torch.testing.assert_close(model(splits.pool.inputs), expected)


def test_an_interrupted_run_goes_on_with_the_same_answers(data, tmp_path, monkeypatch):
    study_of(data, tmp_path / "whole", Teacher(estimator=TREES)).run()
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort0", epoch=1)
        with pytest.raises(Killed):
            study_of(data, tmp_path / "run", Teacher(estimator=TREES)).run()
    monkeypatch.setattr("limbeck.study.teacher.fit_estimators", None)  # not fitted again
    study_of(data, tmp_path / "run", Teacher(estimator=TREES), resume=True).run()
    assert same_students(tmp_path / "whole", tmp_path / "run")
    study_of(data, tmp_path / "next", Teacher(source=[tmp_path / "run"])).run()
    assert same_students(tmp_path / "whole", tmp_path / "next")


def test_with_folds_no_training_sample_is_answered_by_a_fit_on_it(data):
    splits = ResampledSplits(data, [0])
    (one,), (other,) = (
        fit_estimators(Teacher(estimator=Memory(), folds=folds), splits)[0] for folds in (None, 4)
    )
    train, val = data.train.inputs, data.val.inputs
    assert (one(train).softmax(-1).amax(-1) > 0.99).all()
    assert (other(train).softmax(-1).amax(-1) < 0.4).all(), "copies are left out together"
    is_new = ~(val[:, None] == train).all(-1).any(-1)
    assert torch.equal(one(val[is_new]), other(val[is_new]))


def test_folds_leave_out_groups_and_copies():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(3))
    x[39] = x[0]  # a copy in another group
    y = torch.arange(60) % 2
    train = Split(x[:40], y[:40], groups=torch.arange(40) // 10)
    samples = Dataset.from_splits("groups", train, *[Split(x[40:], y[40:])] * 2, class_names="ab")
    fits: list[set[bytes]] = []

    class Counted(Memory):
        def fit(self, x, y):
            fits.append({row.tobytes() for row in x})
            return super().fit(x, y)

    plan = Teacher(estimator=Counted(), folds=2)
    (teacher,) = fit_estimators(plan, ResampledSplits(samples, [0]))[0]
    assert (teacher(train.inputs).softmax(-1).amax(-1) < 0.6).all()
    _, *parts = fits
    assert len(parts) == 2
    for part in parts:
        is_absent = torch.tensor([row.tobytes() not in part for row in train.inputs.numpy()])
        of_groups = is_absent[1:39].split([9, 10, 10, 9])
        assert sorted(map(len, [g for g in of_groups if g.all()])) in ([9, 9], [9, 10], [10, 10])
        assert all(bool(group.all()) or not bool(group.any()) for group in of_groups)


def test_random_numbers_of_an_estimator_come_from_the_seed(data):
    splits = ResampledSplits(data, [0])
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(3, max_depth=2))
    one, same, other = (
        fit_estimators(Teacher(estimator=forest, seed=seed), splits)[0][0].logits
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_function_of_the_dataset_builds_it(data):
    arguments = []

    def build(dataset):
        arguments.append(dataset)
        return LogisticRegression()

    (teacher,) = fit_estimators(Teacher(estimator=build), ResampledSplits(data, [0]))[0]
    assert arguments == [data]
    assert teacher.name == "LogisticRegression"


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"views": Shift(1)}, "answers the plain inputs, but students see other views.*views=none"),
        ({"transfer": TransferSet(source=UniformNoise(samples=10))}, "no answers for the inputs"),
        ({"features": True}, "need layers of the teacher, but an estimator has none"),
    ],
)
def test_arms_that_need_more_than_answers_are_refused(arm, message, tmp_path):
    x = torch.randint(256, (60, 1, 4, 4), dtype=torch.uint8)
    images = Dataset.from_arrays(x[:40], torch.arange(40) % 2, x[40:], torch.arange(20) % 2)
    objective = Objective()
    if arm.pop("features", False):
        layers = {"student": "net.layers.1", "teacher": "net.layers.1"}
        objective = Objective(features=[Feature(kind="hint", **layers)])
    arms = {"hard": ARMS["hard"], "soft": Arm(objective=objective, **arm)}
    with pytest.raises(ConfigError, match=message):
        study_of(images, tmp_path / "run", Teacher(estimator=TREES), arms).check()
    assert not (tmp_path / "run").exists()


def test_a_failure_to_fit_is_one_message(data, tmp_path):
    trees = HistGradientBoostingClassifier(max_iter=-1)
    with pytest.raises(TeacherError, match="HistGradientBoostingClassifier could not be fitted"):
        study_of(data, tmp_path / "run", Teacher(estimator=trees)).run()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": 3}, "should be an object with fit and predict_proba"),
        ({"estimator": LogisticRegression}, "should be an object with fit"),
        ({"estimator": TREES, "model": MLP}, "a model or an estimator, not both"),
        ({"estimator": TREES, "folds": 1}, "at least 2"),
        ({"model": MLP, "folds": 2}, "parts for an estimator"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Teacher(**settings)


def test_an_object_without_probabilities_is_refused(data, tmp_path):
    from sklearn.svm import LinearSVC

    with pytest.raises(ConfigError, match="LinearSVC; expected an object with fit and predict_pro"):
        study_of(data, tmp_path / "run", Teacher(estimator=LinearSVC())).check()


def test_text_is_refused(text_data):
    with pytest.raises(ConfigError, match=r"teacher\.estimator is for classifiers"):
        build_estimator(Teacher(estimator=TREES), text_data)


def test_more_folds_than_training_samples_are_refused(data, tmp_path):
    teacher = Teacher(estimator=TREES, folds=len(data.train) + 1)
    with pytest.raises(ConfigError, match=r"is more than the .* training samples"):
        study_of(data, tmp_path, teacher).check()


def test_a_single_label_of_several():
    x = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    y = (x[:, :1] > 0).astype(np.float32)
    data = Dataset.from_arrays(
        x[:90], y[:90], x[90:], y[90:], class_names=["positive"], task="multi_label"
    )
    plan = Teacher(estimator=partial(boosted_trees, max_iter=2, min_samples_leaf=5))
    [[teacher]] = fit_estimators(plan, ResampledSplits(data, [0], 1))
    answers = teacher(data.open_test().inputs)
    assert answers.shape == (30, 1)
    assert ((answers > 0).float() == data.open_test().labels).float().mean() > 0.9
