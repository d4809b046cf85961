import warnings

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from limbeck._base.errors import TeacherError
from limbeck.teacher.estimator import EstimatorTeacher
from limbeck.teacher.probabilities import FLOOR
from limbeck.teacher.signal import LiveTeacher

RANDOM = np.random.default_rng(0)
X = RANDOM.random((60, 6), dtype=np.float32)
Y = X[:, :3].argmax(1)
NAMES = ["cat", "dog", "fox"]


def fit(estimator=None, y=Y):
    return (estimator or LogisticRegression()).fit(X, y)


def answers(estimator, names=NAMES, x=X):
    return LiveTeacher(EstimatorTeacher(estimator, names))(torch.as_tensor(x))


class Answers:
    """An estimator that answers what it is given."""

    def __init__(self, answer, **attributes):
        self.answer = answer
        vars(self).update(attributes)

    def predict_proba(self, features):
        return self.answer(features)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_the_softmax_of_its_logits_is_what_the_estimator_predicts(estimator):
    fit(estimator)
    expected = torch.from_numpy(estimator.predict_proba(X)).float()
    for names in (NAMES, None):
        torch.testing.assert_close(answers(estimator, names).softmax(-1), expected)


def test_inputs_are_flattened():
    estimator = fit()
    rows = answers(estimator)
    torch.testing.assert_close(answers(estimator, x=X.reshape(60, 1, 2, 3)), rows)
    torch.testing.assert_close(answers(estimator, x=torch.from_numpy(X).double()), rows)


def test_a_pipeline_has_the_name_of_its_last_step():
    pipeline = fit(make_pipeline(StandardScaler(), LogisticRegression()))
    assert EstimatorTeacher(pipeline, NAMES).name == "Pipeline of LogisticRegression"


def test_names_of_features_play_no_part():
    estimator = fit()
    estimator.feature_names_in_ = np.array(list("abcdef"), dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answers(estimator)


@pytest.mark.parametrize(
    ("labels", "names", "columns"),
    [
        ([0, 1, 2], NAMES, [0, 1, 2]),
        (NAMES, NAMES, [0, 1, 2]),
        (NAMES, ["fox", "cat", "dog"], [2, 0, 1]),
        ([1, 2, 10], ["1", "10", "2"], [0, 2, 1]),
        ([1.0, 2.0, 10.0], ["1", "10", "2"], [0, 2, 1]),
        ([0, 1, 2], ["1", "10", "2"], [0, 1, 2]),
    ],
)
def test_classes_are_matched_by_name_or_by_number(labels, names, columns):
    """scikit-learn sorts the classes; ``columns`` has the column of each class of the data."""
    estimator = fit(y=np.array(labels)[Y])
    expected = torch.from_numpy(estimator.predict_proba(X)[:, columns]).float()
    torch.testing.assert_close(answers(estimator, names).softmax(-1), expected)


def test_a_class_that_the_estimator_has_not_seen_has_the_floor():
    teacher = EstimatorTeacher(fit(y=np.where(Y == 1, 2, Y)), NAMES)
    logits = teacher(torch.from_numpy(X))
    assert torch.all(logits[:, 1] == np.log(np.float32(FLOOR)))
    assert "fitted without the classes 'dog'" in " ".join(teacher.notes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["cat", "dog", "owl"],
            "fitted on the classes 'cat', 'dog', 'owl', but the data has 'cat'",
        ),
        ([1, 2, 3], "fitted on the classes '1', '2', '3', but"),
    ],
)
def test_other_classes_are_refused(labels, message):
    with pytest.raises(TeacherError, match=message):
        EstimatorTeacher(fit(y=np.array(labels)[Y]), NAMES)


def test_names_without_data_are_refused():
    with pytest.raises(TeacherError, match="the data has numbers of classes"):
        EstimatorTeacher(fit(y=np.array(NAMES)[Y]), None)


def test_one_column_is_the_probability_of_the_second_class():
    p = np.linspace(0.1, 0.9, 60)
    for answer in (p, p[:, None]):
        result = answers(Answers(lambda _, answer=answer: answer), ["no", "yes"])
        torch.testing.assert_close(result.softmax(-1)[:, 1], torch.from_numpy(p).float())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: [np.zeros((60, 2)), np.zeros((60, 2))], "returns 2 arrays, one for each"),
        (lambda x: np.zeros((5, 3)), r"returned float64 of shape \[5, 3\] for 60 inputs"),
        (lambda x: np.full((60, 3), "a"), r"returned <U1 of shape"),
        (lambda x: np.full((60, 3), 2.0), r"should answer with probabilities that sum to 1"),
        (lambda x: np.full((60, 3), np.nan), r"should answer with probabilities"),
        (lambda x: x.columns, r"predict_proba failed: AttributeError.*needs a table"),
    ],
)
def test_answers_that_are_no_probabilities(answer, message):
    with pytest.raises(TeacherError, match=message):
        answers(Answers(answer))


def test_an_estimator_that_is_not_fitted():
    with pytest.raises(TeacherError, match=r"LogisticRegression is not fitted: call fit\(\)"):
        answers(LogisticRegression())


def test_another_number_of_features():
    with pytest.raises(
        TeacherError, match=r"fitted on 6 features, but an input of the data has 8 \(shape \[2, 4\]"
    ):
        answers(fit(), x=torch.zeros(3, 2, 4))


def test_columns_and_classes_have_to_agree():
    estimator = Answers(lambda x: np.full((60, 2), 0.5), classes_=np.array([0, 1, 2]))
    with pytest.raises(TeacherError, match="returns 2 columns, but classes_ has 3 classes"):
        answers(estimator)


def test_certain_answers_are_floored():
    result = answers(fit(DummyClassifier(strategy="constant", constant=0)))
    assert result.isfinite().all()
    assert float(result.amin()) == pytest.approx(np.log(FLOOR))


XGBOOST = pytest.param(
    "xgboost", "XGBClassifier", {"n_estimators": 2, "max_depth": 2}, id="xgboost"
)
LIGHTGBM = pytest.param(
    "lightgbm", "LGBMClassifier", {"n_estimators": 2, "verbose": -1}, id="lightgbm"
)
CATBOOST = pytest.param(
    "catboost",
    "CatBoostClassifier",
    {"iterations": 2, "verbose": False, "allow_writing_files": False},
    id="catboost",
)


@pytest.mark.parametrize(("library", "name", "options"), [XGBOOST, LIGHTGBM, CATBOOST])
def test_boosting_libraries(library, name, options):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    estimator = fit(getattr(module, name)(**options))
    expected = torch.from_numpy(np.asarray(estimator.predict_proba(X))).float()
    torch.testing.assert_close(answers(estimator).softmax(-1), expected)
