"""Gradient-boosted trees for a dataset."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.multioutput import MultiOutputRegressor
from support.tables import table_dataset

from limbeck._base.errors import ConfigError
from limbeck.data import Dataset, TableColumns
from limbeck.teacher.boosting import boosted_trees

X = np.stack([np.arange(20), np.arange(20) % 2, np.arange(20) % 3], 1).astype(np.float32)
Y = np.arange(20) % 2


def dataset(y=Y, **settings):
    return Dataset.from_arrays(X[:10], y[:10], X[10:], y[10:], val=2, **settings)


def test_columns_of_categories_are_split_as_categories():
    kinds = (None, ("blue", "red"), tuple(map(str, range(300))))
    data = dataset(columns=TableColumns(("age", "colour", "postcode"), kinds))
    trees = boosted_trees(data, max_iter=7)
    assert trees.categorical_features == [False, True, False], "scikit-learn takes at most 255"
    assert trees.max_iter == 7


def test_rows_with_categories_and_missing_values_are_fitted():
    data = table_dataset()
    x, y = data.train.inputs.numpy(), data.train.labels.numpy()
    assert np.isnan(x).any()
    assert boosted_trees(data, max_iter=30, min_samples_leaf=5).fit(x, y).score(x, y) > 0.9


def test_other_inputs_have_no_categories():
    assert boosted_trees(dataset()).categorical_features is None


def test_each_target_of_a_regression_has_its_own_trees():
    one, two = X[:, :1], X[:, 1:]
    assert isinstance(boosted_trees(dataset(one, task="regression")), HistGradientBoostingRegressor)
    assert isinstance(boosted_trees(dataset(two, task="regression")), MultiOutputRegressor)


def test_texts_are_refused():
    data = dataset()
    data.tokenizer = torch.nn.Identity()
    with pytest.raises(ConfigError, match=r"teacher=boosting is for tables .* Use teacher=tfidf"):
        boosted_trees(data)
