"""Words on a teacher of texts that has learned too little."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from support.reviews import make_reviews, write_csv

from limbeck import Optimizer, Teacher
from limbeck._base.errors import LimbeckWarning
from limbeck.data import text_csv
from limbeck.models import TextEncoder
from limbeck.study.teacher_learning import SMOOTHING, naive_bayes_accuracy, warn_if_untaught

PLAN = Teacher(model=TextEncoder, epochs=3, optimizer=Optimizer(lr=1e-4))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reviews")
    file = write_csv(folder / "reviews.csv", make_reviews(400))
    return text_csv(file, tokenizer="bytes", length=32, val=0.3, cache=folder)


def warnings_of(data, accuracy):
    task = SimpleNamespace(val_scalars=lambda _: {"teacher/seed0/val_acc": accuracy})
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        warn_if_untaught(task, data, PLAN)
    return [str(warning.message) for warning in record if warning.category is LimbeckWarning]


def test_naive_bayes_is_that_of_scikit_learn_on_the_same_tokens(data):
    def words(split):
        return [" ".join(str(int(i)) for i in row if i != data.padding) for row in split.inputs]

    counts = CountVectorizer(binary=True, token_pattern=r"\d+")
    model = MultinomialNB(alpha=SMOOTHING)
    # tokens that are in no training text have the same probability in all classes
    model.fit(counts.fit_transform(words(data.train)), data.train.labels)
    expected = model.score(counts.transform(words(data.val)), data.val.labels)
    assert 0.5 < naive_bayes_accuracy(data) < 1
    assert naive_bayes_accuracy(data) == pytest.approx(expected, abs=0.03)


def test_a_teacher_that_counting_words_beats_is_named(data):
    simple = naive_bayes_accuracy(data)
    (message,) = warnings_of(data, simple - 0.01)
    assert "worse than counting words" in message
    assert f"naive Bayes on the same tokens is on {100 * simple:.1f} %" in message
    assert "teacher.epochs, now 3" in message
    assert "teacher.optimizer.lr (now 0.0001)" in message
    assert "teacher=tfidf" in message


def test_a_good_teacher_needs_no_word_and_one_at_chance_one(data):
    assert warnings_of(data, naive_bayes_accuracy(data)) == []
    share = float(torch.bincount(data.val.labels).max()) / len(data.val.labels)
    (message,) = warnings_of(data, share)
    assert "has not learned" in message
