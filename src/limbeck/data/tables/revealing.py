"""Columns of a table that give the label away, because they are known only after it."""

from dataclasses import dataclass

import numpy as np

from limbeck.data.dataset import Dataset
from limbeck.data.randomness import random_order
from limbeck.data.split import Split

MAX_TRAIN, MAX_VAL, MIN_VAL = 20_000, 5_000, 30
"""Largest numbers of rows that are used, and smallest number of validation rows."""
BINS = 64
MAX_ERROR_RATE = 0.02
MAX_SHARE = 0.1
"""Largest error rate of a column, and its largest share of that of the most frequent class."""
MIN_R2 = 0.999
"""Smallest squared correlation of a column with a value to predict."""


@dataclass(frozen=True)
class RevealingColumn:
    """A column that predicts the label alone.

    Attributes:
        name: Name of the column.
        quality: Quality of its predictions, as text.
    """

    name: str
    quality: str


def revealing_columns(data: Dataset) -> list[RevealingColumn]:
    """Find columns each of which predicts nearly all labels of the validation split alone.

    If that split is small, a half of the training split takes its place.

    A class is predicted from a category, or from one of 64 intervals of numbers; a value from
    another one by its correlation.

    Args:
        data: Dataset of a table.
    """
    if data.columns is None:
        return []
    train, val = data.train, data.val
    if len(val) < MIN_VAL:
        order = random_order(len(train), 0)
        train, val = train.take(order[::2]), train.take(order[1::2])
    if len(val) < MIN_VAL:
        return []
    train, val = _some(train, MAX_TRAIN), _some(val, MAX_VAL)
    results = []
    for number, (name, size) in enumerate(zip(data.columns.names, data.columns.sizes, strict=True)):
        x, x_val = (split.inputs[:, number].numpy() for split in (train, val))
        if not data.kind.has_classes:
            quality = None if size else _correlation(x_val, val.labels.numpy())
        else:
            keys = (x, x_val) if size else _intervals(x, x_val)
            quality = _accuracy(*keys, train.labels.numpy(), val.labels.numpy())
        if quality is not None:
            results.append(RevealingColumn(name, quality))
    return results


def _some(split: Split, count: int) -> Split:
    return split if len(split) <= count else split.take(random_order(len(split), 0)[:count])


def _intervals(x: np.ndarray, x_val: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the interval of each value; NaN stays."""
    values = x[~np.isnan(x)]
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS)) if len(values) else values

    def interval(values: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(values), np.nan, np.searchsorted(edges, values))

    return interval(x), interval(x_val)


def _accuracy(
    keys: np.ndarray, val_keys: np.ndarray, y: np.ndarray, y_val: np.ndarray
) -> str | None:
    """Describe predictions by the most frequent class of each key; None if they are not good."""
    most_frequent = int(np.bincount(y).argmax())
    everything, number = np.unique(np.concatenate([keys, val_keys]), return_inverse=True)
    counts = np.zeros((len(everything), int(y.max()) + 1), np.int64)
    np.add.at(counts, (number[: len(keys)], y), 1)
    counts[:, most_frequent] += counts.sum(1) == 0  # for keys of no training row
    is_wrong = counts.argmax(1)[number] != np.concatenate([y, y_val])
    error_rate = float(is_wrong[len(y) :].mean())
    usual = float((y_val != most_frequent).mean())
    # the training error, too, since a small validation split may have none by chance
    if max(error_rate, float(is_wrong[: len(y)].mean())) > min(MAX_ERROR_RATE, MAX_SHARE * usual):
        return None
    if usual == 0:
        return None
    return f"{100 * (1 - error_rate):.3g} % of {len(y_val):,} rows"


def _correlation(x: np.ndarray, y: np.ndarray) -> str | None:
    """Describe the correlation with the value that it predicts best; None if it is not good."""
    is_there = ~np.isnan(x)
    best = 0.0
    for target in y[is_there].T:
        if is_there.sum() > 2 and x[is_there].std() > 0 and target.std() > 0:
            best = max(best, float(np.corrcoef(x[is_there], target)[0, 1] ** 2))
    return f"with a squared correlation of {best:.4f}" if best >= MIN_R2 else None
