"""Correction of the verdicts of a study with several comparisons."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from limbeck.evaluation.statistics import LEVEL
from limbeck.run.comparison import Comparison


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that one false alarm or more among all of them is rare.

    If p-values below 0.05 after the adjustment count as alarms, the probability of any false alarm
    is at most 5 %, however the tests depend on each other.

    Args:
        p_values: One p-value per test, ``[K]``.

    Returns:
        The adjusted p-values, in the same order.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return adjusted.tolist()


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that few of the alarms are false.

    If p-values below 0.05 after the adjustment count as alarms, the expected share of false ones
    among them is at most 5 % (for tests that are independent or positively dependent).

    Args:
        p_values: One p-value per test, ``[K]``.

    References:
        Benjamini and Hochberg, "Controlling the false discovery rate", 1995.
    """
    if len(p_values) == 0:
        return []
    adjusted: list[float] = stats.false_discovery_control(p_values).tolist()
    return adjusted


def correct_comparisons(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Adjust the p-values of several comparisons, and base the verdicts on Holm's.

    The headline keeps its verdict: it was chosen on the validation split, so it is a single test.
    A single comparison is returned as it is.
    """
    tested = [entry for entry in comparisons if entry.p_value is not None]
    if len(tested) < 2:
        return list(comparisons)
    p_values = [entry.p_value for entry in tested if entry.p_value is not None]
    adjusted = {
        id(entry): replace(entry, p_holm=by_holm, p_bh=by_bh)
        for entry, by_holm, by_bh in zip(
            tested, holm(p_values), benjamini_hochberg(p_values), strict=True
        )
    }
    corrected = []
    for comparison in comparisons:
        entry = adjusted.get(id(comparison), comparison)
        is_shown = entry.main or entry.p_holm is None or entry.p_holm < LEVEL
        corrected.append(entry if is_shown else replace(entry, verdict="not shown"))
    return corrected
