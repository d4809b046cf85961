"""The result of a constant answer, compared with scikit-learn's dummies."""

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import mean_squared_error

from limbeck.evaluation.constant import constant_result
from limbeck.losses.tasks import TASKS

RNG = np.random.default_rng(0)


def test_the_most_frequent_class():
    train, test = RNG.integers(0, 3, 50), RNG.integers(0, 4, 30)
    dummy = DummyClassifier(strategy="most_frequent").fit(train[:, None], train)
    result = constant_result(torch.tensor(train), torch.tensor(test), TASKS["classes"])
    assert result == (dummy.predict(test[:, None]) != test).sum()


def test_the_most_frequent_value_of_each_label():
    train, test = (RNG.random((n, 3)) < [0.2, 0.5, 0.9] for n in (51, 30))
    dummy = DummyClassifier(strategy="most_frequent").fit(train, train.astype(int))
    wrong = (dummy.predict(test) != test).sum()
    tensors = (torch.tensor(labels).float() for labels in (train, test))
    assert constant_result(*tensors, TASKS["multi_label"]) == wrong


def test_the_mean_of_each_target():
    train, test = (RNG.normal([1e3, -2], [50, 0.1], (n, 2)) for n in (60, 40))
    dummy = DummyRegressor().fit(train, train)
    scale = train.std(0, ddof=1)
    expected = mean_squared_error(test / scale, dummy.predict(test) / scale)
    tensors = (torch.tensor(labels).float() for labels in (train, test))
    assert constant_result(*tensors, TASKS["regression"]) == pytest.approx(expected, rel=1e-3)


def test_text_and_embeddings_have_none():
    tokens = torch.zeros(3, 4, dtype=torch.int32)
    assert constant_result(tokens, tokens, TASKS["next_token"]) is None
    assert constant_result(tokens, tokens, TASKS["embedding"]) is None
