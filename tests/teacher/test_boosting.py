"""Gradient-boosted trees for a dataset."""

from types import SimpleNamespace

from limbeck.data.tables.columns import TableColumns
from limbeck.teacher.boosting import boosted_trees

COLUMNS = TableColumns(
    names=("age", "colour", "postcode"),
    categories=(None, ("blue", "red"), tuple(map(str, range(300)))),
)


def test_columns_of_categories_are_split_as_categories():
    trees = boosted_trees(SimpleNamespace(columns=COLUMNS), max_iter=7)
    assert trees.categorical_features == [False, True, False], "scikit-learn takes at most 255"
    assert trees.max_iter == 7


def test_other_inputs_have_no_categories():
    assert boosted_trees(SimpleNamespace(columns=None)).categorical_features is None
