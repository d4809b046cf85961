"""The breast tumours of scikit-learn."""

import torch

from limbeck._base.checks import check_seed
from limbeck._base.errors import ConfigError
from limbeck.data.dataset import Dataset, Split
from limbeck.data.randomness import random_order
from limbeck.data.tables.columns import TableColumns


def breast_cancer(*, val: int = 60, test: int = 150, split_seed: int = 0) -> Dataset:
    """Load the 569 breast tumours of Wisconsin that come with scikit-learn, as rows of a table.

    There are 30 numbers about the nuclei of cells in an image of each tumour, and two classes:
    malignant (212) and benign (357).

    Args:
        val: Number of rows for validation.
        test: Number of rows for testing.
        split_seed: Seed of both splits.

    Raises:
        ConfigError: If a number is out of range.
    """
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    rows = Split(torch.from_numpy(bunch.data).float(), torch.from_numpy(bunch.target).long())
    if isinstance(test, bool) or not isinstance(test, int) or not 1 <= test < len(rows):
        raise ConfigError(f"data.test={test!r} should be a whole number from 1 to {len(rows) - 1}.")
    order = random_order(len(rows), check_seed("data.split_seed", split_seed))
    names = tuple(map(str, bunch.feature_names))
    return Dataset(
        "breast_cancer",
        rows.take(order[test:].sort().values),
        rows.take(order[:test].sort().values),
        class_names=list(map(str, bunch.target_names)),
        val=val,
        split_seed=split_seed,
        columns=TableColumns(names, (None,) * len(names)),
    )
