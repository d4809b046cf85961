"""Numbers that float32 rounds, and targets without differences, in arrays."""

import numpy as np
import pytest

from limbeck._base.errors import DataError, LimbeckWarning
from limbeck.data import Dataset

N = np.arange(60)


def arrays(x, y, **settings):
    return Dataset.from_arrays(x[:40], y[:40], x[40:], y[40:], **settings)


def test_features_in_float64_that_lose_their_differences():
    x = np.stack([N / 7, 1.7e9 + N], 1)
    with pytest.warns(LimbeckWarning, match=r"column 1 of the inputs has values around 1.7e\+09"):
        arrays(x, N % 2)


@pytest.mark.parametrize("column", [np.full(60, 1.7e9), 1e6 + 1000.0 * N, N / 7])
def test_other_features_are_no_warning(column, recwarn):
    arrays(np.stack([N / 7, column], 1), N % 2)
    assert not [entry for entry in recwarn if "float32" in str(entry.message)]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (np.full(60, 3.0), "target is 3 in all training samples"),
        (1.7e9 + 50 * N, r"target has values around 1.7e\+09, which float32 rounds"),
        (1e13 + N, "If the values differ, float32 has rounded them"),
    ],
)
def test_targets_without_differences(target, text):
    with pytest.raises(DataError, match=text):
        arrays(N[:, None] / 7, target, task="regression")


def test_a_label_that_all_samples_have():
    labels = np.stack([N % 2, np.ones(60)], 1).astype(np.float32)
    with pytest.warns(LimbeckWarning, match="label 1 is the same in all training samples"):
        arrays(N[:, None] / 7, labels, task="multi_label")
