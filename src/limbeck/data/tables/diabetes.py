"""The diabetes patients of scikit-learn."""

import torch

from limbeck._base.checks import check_seed
from limbeck._base.errors import ConfigError
from limbeck.data.dataset import Dataset
from limbeck.data.randomness import random_order
from limbeck.data.split import Split
from limbeck.data.tables.columns import TableColumns


def diabetes(*, val: int = 50, test: int = 150, split_seed: int = 0) -> Dataset:
    """Load the 442 patients with diabetes that come with scikit-learn, as rows of a table.

    There are ten numbers about each patient at the beginning of a year (age, sex, body mass index,
    blood pressure and six of the blood). The target is the progression of the disease after it.

    Args:
        val: Number of rows for validation.
        test: Number of rows for testing.
        split_seed: Seed of both splits.

    Raises:
        ConfigError: If a number is out of range.
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    target = torch.from_numpy(bunch.target).float()[:, None]
    rows = Split(torch.from_numpy(bunch.data).float(), target)
    if isinstance(test, bool) or not isinstance(test, int) or not 1 <= test < len(rows):
        raise ConfigError(f"data.test={test!r} should be a whole number from 1 to {len(rows) - 1}.")
    order = random_order(len(rows), check_seed("data.split_seed", split_seed))
    names = tuple(map(str, bunch.feature_names))
    return Dataset(
        "diabetes",
        rows.take(order[test:].sort().values),
        rows.take(order[:test].sort().values),
        class_names=["progression"],
        val=val,
        split_seed=split_seed,
        task="regression",
        columns=TableColumns(names, (None,) * len(names)),
    )
