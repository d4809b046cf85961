"""The order of a teacher's classes is tested on held-out samples."""

import itertools

import numpy as np
import pytest
from scipy import stats

from limbeck.evaluation.statistics import mcnemar_exact
from limbeck.teacher.class_order import (
    better_p_value,
    compare_orders,
    fit_columns,
    lowest_recall,
    mean_recall,
    patterns,
)


def answers(labels, classes, *, right=0.9, seed=0):
    """Logits of a teacher that is right with this probability, and errs evenly otherwise."""
    draw = np.random.default_rng(seed)
    top = np.where(
        draw.random(len(labels)) < right, labels, draw.integers(classes, size=len(labels))
    )
    logits = draw.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), top] += 20
    return logits


def labels_of(count, classes, seed=1):
    return np.random.default_rng(seed).integers(classes, size=count)


def in_order(logits, columns, outputs=None):
    """The same answers of a teacher whose class k is its output ``columns[k]``."""
    mixed = np.full((len(logits), outputs or logits.shape[1]), -50.0)
    mixed[:, columns] = logits
    return mixed


def names_of(classes):
    return [str(number) for number in range(classes)]


@pytest.mark.parametrize(
    ("classes", "count", "right"),
    [(2, 100, 0.95), (5, 200, 0.75), (10, 200, 0.9), (10, 2000, 0.55), (100, 2000, 0.4)],
)
def test_a_shuffled_teacher_is_recognised_and_its_order_recovered(classes, count, right):
    labels = labels_of(count, classes)
    columns = np.roll(np.random.default_rng(3).permutation(classes), 1)
    if classes == 2:
        columns = np.array([1, 0])
    logits = in_order(answers(labels, classes, right=right), columns)
    test = compare_orders(logits, labels, names_of(classes))
    assert test.is_better
    moved = columns != np.arange(classes)
    assert (test.order.columns == columns)[moved].mean() > 0.9
    assert test.error_rate < 0.7 * test.present_error_rate


@pytest.mark.parametrize("right", [0.05, 0.3, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_a_teacher_in_the_right_order_is_not(classes, right):
    for seed in range(5):
        labels = labels_of(300, classes, seed)
        test = compare_orders(
            answers(labels, classes, right=right, seed=seed), labels, names_of(classes)
        )
        assert not test.is_better


def test_a_weak_teacher_that_confuses_two_classes_is_not_in_another_order():
    """Swapping the two classes would make fewer errors, but neither is known in that order."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 300)
    top = labels.copy()
    top[:300] = np.where(draw.random(300) < 0.9, 1, 0)  # class 0 is nearly always called 1
    top[300:600] = np.where(draw.random(300) < 0.7, 1, 0)  # class 1 is mostly called 1, too
    order = draw.permutation(len(labels))
    logits = 9.0 * np.eye(4)[top]
    swapped = fit_columns(logits, labels, 4)
    assert swapped.tolist() == [1, 0, 2, 3]
    assert not compare_orders(logits[order], labels[order], names_of(4)).is_better


def test_an_untrained_network_that_separates_two_classes_by_chance_is_not_reversed():
    labels = labels_of(500, 2)
    logits = np.eye(2)[1 - labels]
    assert compare_orders(5 * logits, labels, names_of(2)).is_better
    assert not compare_orders(0.1 * logits, labels, names_of(2)).is_better


def pattern_of(columns, classes):
    labels = labels_of(1000, classes)
    logits = in_order(answers(labels, classes), columns)
    test = compare_orders(logits, labels, names_of(classes))
    assert test.is_better
    assert test.order.columns.tolist() == list(columns)
    return test.order.pattern


def test_patterns_are_named():
    text = sorted(range(11), key=str)
    assert "sorted as text" in pattern_of([text.index(k) for k in range(11)], 11)
    assert "first one is last" in pattern_of([*range(1, 10), 0], 10)
    assert "last one is first" in pattern_of([9, *range(9)], 10)
    assert "reversed" in pattern_of(range(9, -1, -1), 10)
    assert pattern_of([1, 0, *range(2, 10)], 10) == ""


def test_patterns_of_folders_sorted_as_text():
    names = sorted(names_of(12))
    by_value = [order for order in patterns(names, 12) if "their numbers" in order.pattern]
    assert by_value[0].columns.tolist() == [int(name) for name in names]


def test_patterns_differ_from_each_other_and_from_the_present_order():
    for names in (names_of(3), names_of(12), ["b", "C", "a"], sorted(names_of(11))):
        orders = [order.columns.tolist() for order in patterns(names, len(names))]
        assert list(range(len(names))) not in orders
        assert all(first != second for first, second in itertools.combinations(orders, 2))
        assert all(sorted(order) == list(range(len(names))) for order in orders)


@pytest.mark.parametrize(
    ("columns", "outputs", "pattern"),
    [
        (range(10), 12, "first 10 outputs"),
        (range(1, 11), 11, "1 output come before"),
        ([3, 1, 11, 7, 0, 4, 10, 2, 9, 5], 12, ""),
    ],
)
def test_the_classes_among_more_outputs(columns, outputs, pattern):
    labels = labels_of(1000, 10)
    logits = in_order(answers(labels, 10), list(columns), outputs)
    test = compare_orders(logits, labels, names_of(10))
    assert test.is_plausible
    assert test.present_error_rate is None
    assert test.order.columns.tolist() == list(columns)
    assert pattern in test.order.pattern


def test_no_outputs_fit_if_the_answers_are_random():
    labels = labels_of(1000, 10)
    logits = np.random.default_rng(0).normal(size=(1000, 12))
    assert not compare_orders(logits, labels, names_of(10)).is_plausible


def test_the_fitted_order_is_the_best_of_all():
    draw = np.random.default_rng(0)
    for _ in range(20):
        labels, logits = draw.integers(4, size=30), draw.normal(size=(30, 5))
        best = max(
            (logits.argmax(1) == np.array(columns)[labels]).sum()
            for columns in itertools.permutations(range(5), 4)
        )
        columns = fit_columns(logits, labels, 4)
        assert len(set(columns.tolist())) == 4
        assert (logits.argmax(1) == columns[labels]).sum() == best


def test_classes_without_evidence_keep_their_output():
    labels = np.array([0, 0, 1, 1])
    logits = 9.0 * np.eye(6)[[1, 1, 0, 0]]
    assert fit_columns(logits, labels, 6).tolist() == [1, 0, 2, 3, 4, 5]
    logits = 9.0 * np.eye(6)[[1, 1, 3, 3]]
    assert fit_columns(logits, labels, 6).tolist() == [1, 3, 2, 0, 4, 5]


def test_a_single_sample_has_no_better_order():
    test = compare_orders(np.eye(3)[:1], np.array([1]), names_of(3))
    assert not test.is_better
    assert test.samples == 1


def test_the_one_sided_p_value_is_that_of_the_sign_test():
    first = np.array([True] * 2 + [False] * 20)
    second = np.array([False] * 2 + [True] * 12 + [False] * 8)
    expected = stats.binomtest(12, 14, 0.5, alternative="greater").pvalue
    assert better_p_value(first, second) == pytest.approx(expected)
    assert mcnemar_exact(first, second) == pytest.approx(2 * expected)
    assert better_p_value(first, first) == 1


def test_the_mean_recall_counts_classes_equally():
    wrong = np.array([False] * 9 + [True])
    assert mean_recall(wrong, np.array([0] * 9 + [1])) == 0.5
    assert mean_recall(np.zeros(0, bool), np.zeros(0, int)) == 0


def test_the_lowest_recall_is_above_chance():
    for classes in range(2, 1000):
        assert 1 / classes < lowest_recall(classes) <= 0.75
