"""Estimators that read texts: given, and fitted in the run."""

from functools import partial

import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from support.reviews import make_reviews, write_csv
from support.studies import make_study

from limbeck import Arm, Objective, Teacher
from limbeck._base.errors import ConfigError
from limbeck.data import digits, text_csv
from limbeck.data.resampling import ResampledSplits
from limbeck.data.text.decoding import decode_texts
from limbeck.models import BagOfEmbeddings
from limbeck.study.estimators import fit_estimators
from limbeck.teacher.tfidf import tfidf_classifier

ARMS = {
    "hard": Arm(objective=Objective(hard_weight=1.0, soft_weight=0.0)),
    "soft": Arm(objective=Objective(temperature=2.0)),
}
ROWS = make_reviews(120)
LABELS = dict(ROWS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reviews")
    file = write_csv(folder / "reviews.csv", ROWS)
    return text_csv(file, tokenizer="bytes", length=120, cache=folder / "cache")


def texts_of(data, split):
    return decode_texts(split.inputs, data.tokenizer)


def test_texts_are_decoded_without_padding(data):
    texts = texts_of(data, data.train)
    assert set(texts) <= set(LABELS)
    names = [data.class_names[label] for label in data.train.labels]
    assert names == [LABELS[text] for text in texts]


def test_tfidf_is_fitted_on_the_texts_and_teaches(data, tmp_path):
    summary = make_study(
        data,
        ARMS,
        tmp_path / "run",
        student=partial(BagOfEmbeddings, width=4),
        teacher=Teacher(estimator=tfidf_classifier),
        seeds=1,
        epochs=1,
        store={"folder": tmp_path / "store"},
    ).run()
    texts = texts_of(data, data.train)
    own = tfidf_classifier(data).fit(texts, data.train.labels)
    errors = (
        own.predict(texts_of(data, data.open_test())) != data.open_test().labels.numpy()
    ).sum()
    assert summary.teacher.test.errors == errors
    assert summary.comparisons[0].verdict


def test_answers_do_not_depend_on_the_padding(data):
    plan = Teacher(estimator=tfidf_classifier, folds=3)
    ((teacher,),) = fit_estimators(plan, ResampledSplits(data, [0]))
    ids = data.val.inputs.long()
    longest = int((ids != data.padding).sum(1).max())
    assert longest < ids.shape[1]
    torch.testing.assert_close(teacher(ids[:, :longest]), teacher(ids))


def test_a_pipeline_of_a_user_reads_the_texts(data, tmp_path):
    texts = texts_of(data, data.train)
    names = [data.class_names[label] for label in data.train.labels]
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, names)
    study = make_study(data, ARMS, tmp_path / "run", student=BagOfEmbeddings, teacher=estimator)
    study.check()
    (model,) = study._teacher.existing().models
    expected = torch.tensor(estimator.predict_log_proba(texts_of(data, data.val))).float()
    torch.testing.assert_close(model(data.val.inputs), expected, rtol=1e-4, atol=1e-5)


def test_an_estimator_has_no_embeddings_to_start_from(data, tmp_path):
    with pytest.raises(ConfigError, match=r"student\.init=teacher need layers"):
        make_study(
            data,
            ARMS,
            tmp_path / "run",
            student=partial(BagOfEmbeddings, init="teacher"),
            teacher=Teacher(estimator=tfidf_classifier),
        ).check()


def test_tfidf_needs_texts():
    with pytest.raises(ConfigError, match="teacher=tfidf is for texts with labels"):
        tfidf_classifier(digits())


@pytest.mark.parametrize("ngrams", [[2], [2, 1], [0, 1], [1, 2, 3]])
def test_ngrams_are_two_numbers(data, ngrams):
    with pytest.raises(ConfigError, match="ngrams"):
        tfidf_classifier(data, ngrams=ngrams)


@pytest.mark.parametrize("task", ["regression", "multi_label"])
def test_tfidf_answers_with_values_and_labels_of_texts(tmp_path, task):
    rows = ["text,long,good"]
    for number, (text, label) in enumerate(ROWS):
        rows.append(f"{text},{number % 2},{int(label == 'good')}")
    (tmp_path / "a.csv").write_text("\n".join(rows))
    data = text_csv(
        tmp_path / "a.csv", label=["long", "good"], task=task, tokenizer="bytes", cache=tmp_path
    )
    splits = ResampledSplits(data, [0])
    [[teacher]] = fit_estimators(Teacher(estimator=tfidf_classifier), splits)
    train = data.train
    labels = train.labels if task == "regression" else train.labels.long()
    pipeline = tfidf_classifier(data).fit(texts_of(data, train), labels.numpy())
    outputs = teacher(data.open_test().inputs.long())
    texts = texts_of(data, data.open_test())
    if task == "regression":
        expected = torch.from_numpy(pipeline.predict(texts)).float()
    else:
        columns = [p[:, 1] for p in pipeline.predict_proba(texts)]
        expected = torch.stack([torch.from_numpy(p) for p in columns], 1).logit().float()
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
    assert (outputs[:, 1] > (0.5 if task == "regression" else 0)).equal(
        data.open_test().labels[:, 1] > 0.5
    )
