"""Which output of a teacher stands for which class: a test of the order of its classes.

An order is fitted on one half of the validation samples and judged on the other half, so that it
cannot win by chance. A weak teacher that confuses classes is not a teacher in another order: the
classes that would move have to be recognised in the new order, and hardly in the present one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats
from scipy.optimize import linear_sum_assignment

from limbeck.data.class_names import is_number

LEVEL = 1e-4
"""Largest p-value, corrected for the number of orders, of an order that is called better."""
MIN_RATIO = 2.0
"""Smallest ratio of the recalls of the moved classes, in the new and in the present order."""
FEW_CLASSES, MIN_CERTAINTY = 4, 0.5
"""With so few classes, an untrained network may separate them in a wrong order by chance, but it is
not certain of its answers: its mean confidence is nearer to that of equal logits than to 1.
"""
MAX_EXTRA = 64
"""Largest number of additional outputs for which shifts are tried."""
TIE = 0.01
"""Share of samples by which a named order may be worse than the fitted one, which it explains."""

Columns = np.ndarray
"""Number of the output of each class, int64 ``[C]``."""


@dataclass(frozen=True)
class Order:
    """An order of a teacher's outputs.

    Attributes:
        columns: Number of the output of each class.
        pattern: Description of the order in words; empty if it has none.
    """

    columns: Columns
    pattern: str = ""


@dataclass(frozen=True)
class OrderTest:
    """Comparison of an order with the present one, on held-out samples.

    Attributes:
        order: Order.
        error_rate: Share of errors in that order.
        present_error_rate: Share of errors in the present order; None if there is none, because
            the teacher has more outputs than the data has classes.
        p_value: One-sided p-value that the order is better, corrected for the number of orders; 1
            without a present order.
        samples: Number of held-out samples.
        is_plausible: Whether the classes are recognised in that order, as they are by a teacher
            that was trained on them.
    """

    order: Order
    error_rate: float
    present_error_rate: float | None
    p_value: float
    samples: int
    is_plausible: bool

    @property
    def is_better(self) -> bool:
        """Whether the teacher has this order instead of the present one."""
        return self.is_plausible and self.p_value < LEVEL


def lowest_recall(classes: int) -> float:
    """Return the mean recall above which an order is plausible.

    Even an untrained network recognises some classes in the best order of its outputs, the more the
    fewer classes there are; the bound is well above that.
    """
    return min(0.75, 1.6 / math.sqrt(classes))


def compare_orders(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> OrderTest:
    """Test whether the outputs of a teacher are in another order than the classes.

    Args:
        logits: Outputs of the teacher for samples in random order, ``[N, outputs]``; at least as
            many outputs as classes.
        labels: Labels, ``[N]``.
        class_names: Names of the classes.
    """
    classes, outputs = len(class_names), logits.shape[1]
    half = len(labels) // 2
    fitted = Order(fit_columns(logits[:half], labels[:half], classes))
    orders = [*patterns(class_names, outputs), fitted]
    test_logits, test_labels = logits[half:], labels[half:]
    wrong = [_is_wrong(test_logits, test_labels, order.columns) for order in orders]
    fewest = min(int(errors.sum()) for errors in wrong) + TIE * len(test_labels)
    number = next(i for i, errors in enumerate(wrong) if errors.sum() <= fewest)
    order, is_wrong = orders[number], wrong[number]
    present = np.arange(classes)
    present_rate, p_value = None, 1.0
    if outputs == classes:
        was_wrong = _is_wrong(test_logits, test_labels, present)
        present_rate = float(was_wrong.mean()) if len(was_wrong) else 0.0
        p_value = min(1.0, len(orders) * better_p_value(is_wrong, was_wrong))
        is_plausible = _is_plausible(is_wrong, was_wrong, test_labels, order.columns)
        is_plausible &= _is_certain(test_logits)
    else:
        is_plausible = mean_recall(is_wrong, test_labels) >= lowest_recall(classes)
    return OrderTest(
        order=order,
        error_rate=float(is_wrong.mean()) if len(is_wrong) else 0.0,
        present_error_rate=present_rate,
        p_value=p_value,
        samples=len(test_labels),
        is_plausible=is_plausible,
    )


def fit_columns(logits: np.ndarray, labels: np.ndarray, classes: int) -> Columns:
    """Find the output of each class with which most samples are right.

    Classes without evidence keep their own output, if it is free.

    Args:
        logits: Outputs ``[N, outputs]``.
        labels: Labels, ``[N]``.
        classes: Number of classes, at most that of outputs.

    References:
        Kuhn, "The Hungarian method for the assignment problem", 1955.
    """
    top = logits.argmax(1)
    rows, row_of = np.unique(labels, return_inverse=True)
    tops, column_of = np.unique(top, return_inverse=True)
    counts = np.zeros((len(rows), len(tops)))
    np.add.at(counts, (row_of, column_of), 1)
    gains = counts + (rows[:, None] == tops) / (2 * len(rows))  # ties keep the present order
    columns = np.full(classes, -1)
    for row, column in zip(*linear_sum_assignment(-gains), strict=True):
        if counts[row, column] > 0:
            columns[rows[row]] = tops[column]
    free = np.setdiff1d(np.arange(logits.shape[1]), columns)
    missing = np.flatnonzero(columns < 0)
    own = np.intersect1d(missing, free)
    columns[own] = own
    others = np.flatnonzero(columns < 0)
    columns[others] = np.setdiff1d(free, own)[: len(others)]
    return columns


def patterns(class_names: Sequence[str], outputs: int) -> list[Order]:
    """Return the orders that mistakes lead to, without the present one.

    Args:
        class_names: Names of the classes of the data, in the order of the labels.
        outputs: Number of outputs of the teacher.
    """
    classes = len(class_names)
    if outputs > classes:
        return _shifts(classes, outputs)
    numbers = np.arange(classes)
    by_text = sorted(range(classes), key=lambda number: class_names[number])
    by_folder = sorted(range(classes), key=lambda number: class_names[number].lower())
    as_text = sorted(range(classes), key=str)
    orders = [
        Order(_positions(by_text), "its classes are sorted as text, such as 0, 1, 10, 2"),
        Order(_positions(as_text), "its classes are numbered and sorted as text: 0, 1, 10, 2"),
        Order(_positions(by_folder), "its classes are sorted by the alphabet"),
        Order((numbers + 1) % classes, "its classes are shifted by one, so its first one is last"),
        Order((numbers - 1) % classes, "its classes are shifted by one, so its last one is first"),
        Order(numbers[::-1].copy(), "its classes are in reversed order"),
    ]
    if all(map(is_number, class_names)):
        by_value = sorted(range(classes), key=lambda number: float(class_names[number]))
        orders.insert(0, Order(_positions(by_value), "its classes are sorted by their numbers"))
    distinct: dict[bytes, Order] = {}
    for order in orders:
        if not np.array_equal(order.columns, numbers):
            distinct.setdefault(order.columns.tobytes(), order)
    return list(distinct.values())


def _shifts(classes: int, outputs: int) -> list[Order]:
    """Orders of a teacher with additional outputs before or after those of the classes."""
    extra = outputs - classes
    orders = [Order(np.arange(classes), f"the classes are its first {classes} outputs")]
    if extra <= MAX_EXTRA:
        for shift in range(1, extra + 1):
            before = "1 output" if shift == 1 else f"{shift} outputs"
            orders.append(Order(np.arange(classes) + shift, f"{before} come before the classes"))
    return orders


def _positions(order: Sequence[int]) -> Columns:
    """The position of each class in an order."""
    positions = np.empty(len(order), dtype=np.int64)
    positions[list(order)] = np.arange(len(order))
    return positions


def better_p_value(first_wrong: np.ndarray, second_wrong: np.ndarray) -> float:
    """Test with McNemar's exact one-sided test whether the first model errs less often.

    Args:
        first_wrong: Whether the first model errs, bool ``[N]``.
        second_wrong: Whether the second model errs, bool ``[N]``.
    """
    only_first = int((first_wrong & ~second_wrong).sum())
    only_second = int((second_wrong & ~first_wrong).sum())
    return float(stats.binom.cdf(only_first, only_first + only_second, 0.5))


def _is_wrong(logits: np.ndarray, labels: np.ndarray, columns: Columns) -> np.ndarray:
    return logits[:, columns].argmax(1) != labels


def _is_plausible(
    is_wrong: np.ndarray, was_wrong: np.ndarray, labels: np.ndarray, columns: Columns
) -> bool:
    """Whether all classes, and those that would move, are recognised in an order."""
    lowest = lowest_recall(len(columns))
    is_moved = columns[labels] != labels
    recall = mean_recall(is_wrong[is_moved], labels[is_moved])
    present = mean_recall(was_wrong[is_moved], labels[is_moved])
    is_recognised = mean_recall(is_wrong, labels) >= lowest and recall >= lowest
    return is_recognised and recall >= MIN_RATIO * present


def _is_certain(logits: np.ndarray) -> bool:
    """Whether answers to few classes are certain, unlike those of an untrained network."""
    classes = logits.shape[1]
    if classes > FEW_CLASSES or not len(logits):
        return True
    confidence = float(special.softmax(logits.astype(np.float64), 1).max(1).mean())
    return (confidence - 1 / classes) / (1 - 1 / classes) >= MIN_CERTAINTY


def mean_recall(is_wrong: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean over classes of the share of their samples that are right.

    Args:
        is_wrong: Whether each sample is wrong, bool ``[N]``.
        labels: Labels, ``[N]``; without samples the mean is 0.
    """
    if not len(labels):
        return 0.0
    numbers, index = np.unique(labels, return_inverse=True)
    right = np.bincount(index, weights=~is_wrong, minlength=len(numbers))
    return float((right / np.bincount(index, minlength=len(numbers))).mean())
