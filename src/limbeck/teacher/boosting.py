"""Gradient-boosted trees, the usual teacher of tables."""

from typing import Any

from limbeck._base.errors import ConfigError
from limbeck.data import Dataset

MAX_CATEGORIES = 255
"""Largest number of categories of a column that scikit-learn splits as categories."""


def boosted_trees(
    data: Dataset,
    *,
    max_iter: int = 100,
    learning_rate: float = 0.1,
    max_leaf_nodes: int | None = 31,
    min_samples_leaf: int = 20,
    l2_regularization: float = 0.0,
) -> Any:
    """Create scikit-learn's histogram-based gradient boosting for a dataset, not yet fitted.

    Missing values need no treatment. Columns of categories are split as categories, those with more
    than 255 of them by their numbers.

    Args:
        data: Dataset of the study.
        max_iter: Number of boosting iterations. Each adds one tree, or one for each of more than
            two classes.
        learning_rate: Factor of the contribution of each tree.
        max_leaf_nodes: Largest number of leaves of a tree; None for no limit.
        min_samples_leaf: Smallest number of training samples in a leaf.
        l2_regularization: Strength of the L2 penalty on the values of leaves.

    Returns:
        A ``HistGradientBoostingClassifier``, or one for each of several labels; for regression a
        ``HistGradientBoostingRegressor``, or one for each of several targets.

    Raises:
        ConfigError: If the inputs are texts.
    """
    if data.tokenizer is not None:
        raise ConfigError(
            f"teacher=boosting is for tables and other numbers, but {data.name} has texts. Use "
            "teacher=tfidf."
        )
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

    has_values = data.kind.outputs == "values"
    kind = HistGradientBoostingRegressor if has_values else HistGradientBoostingClassifier
    trees = kind(
        max_iter=max_iter,
        learning_rate=learning_rate,
        max_leaf_nodes=max_leaf_nodes,
        min_samples_leaf=min_samples_leaf,
        l2_regularization=l2_regularization,
        categorical_features=_categorical(data),
    )
    if data.kind.outputs == "labels":
        return MultiOutputClassifier(trees)
    return MultiOutputRegressor(trees) if has_values and data.classes > 1 else trees


def _categorical(data: Dataset) -> list[bool] | None:
    """Whether each column has categories; None without any."""
    if data.columns is None:
        return None
    return [0 < size <= MAX_CATEGORIES for size in data.columns.sizes]
