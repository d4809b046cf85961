"""Thresholds of confidence above which a classifier rarely errs, with a guarantee.

A classifier that abstains below a threshold answers fewer samples, and errs on fewer of them.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from limbeck.evaluation.statistics import LEVEL

ERROR_RATES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Error rates for which a study looks for thresholds."""
GRID = 1 - np.geomspace(1e-7, 1, 281)
"""Thresholds, from the highest to 0. They do not depend on the data."""


@dataclass(frozen=True)
class Answers:
    """Confidence and correctness of the answers of a classifier.

    Attributes:
        confidence: Probability of the top class, ``[N]``.
        wrong: Whether the top class is wrong, bool ``[N]``.
    """

    confidence: np.ndarray
    wrong: np.ndarray

    def errors_above(self, threshold: float) -> tuple[int, int]:
        """Count the errors among the answers, and the answers, at a threshold or above."""
        is_answered = self.confidence >= threshold
        return int((self.wrong & is_answered).sum()), int(is_answered.sum())


def answers_of(logits: np.ndarray, labels: np.ndarray, temperature: float) -> Answers:
    """Compute the confidence and correctness of answers.

    Args:
        logits: Logits of the samples, ``[N, classes]``.
        labels: Integer labels, ``[N]``.
        temperature: Temperature that divides the logits.
    """
    from scipy.special import softmax

    probabilities = softmax(logits.astype(np.float64) / temperature, axis=1)
    return Answers(probabilities.max(1), logits.argmax(1) != labels)


def error_bound(errors: np.ndarray, answers: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Compute upper bounds of error rates, by the exact binomial test.

    Args:
        errors: Number of errors, ``[...]``.
        answers: Number of answers, ``[...]``.
        level: Probability with which the real error rate may be higher.

    Returns:
        The bounds; 1 without answers, or if all are wrong.

    References:
        Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of
        the binomial", 1934.
    """
    correct = answers - errors
    bounds = stats.beta.ppf(1 - level, errors + 1, np.maximum(correct, 1))
    return np.where(correct > 0, bounds, 1.0)


def safe_threshold(
    answers: Answers, error_rate: float, *, candidates: int = 1, level: float = LEVEL
) -> float | None:
    """Find the lowest threshold whose error rate is guaranteed.

    The thresholds of a fixed grid are tested one after the other, beginning with the highest at
    which so many samples are answered that the test could succeed, until one fails. So no
    correction for the number of thresholds is needed. If the model was chosen among several on the
    same samples, the level is divided by their number.

    Args:
        answers: Answers to validation samples, on which the model was not trained.
        error_rate: Error rate that the answers may have at most, above 0 and below 1.
        candidates: Number of models among which this one was chosen on these samples.
        level: Probability with which the real error rate may be higher than ``error_rate``.

    Returns:
        The threshold; None if none is guaranteed.

    References:
        Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then test: calibrating predictive
        algorithms to achieve risk control", 2021 (fixed sequence testing); Geifman and El-Yaniv,
        "Selective classification for deep neural networks", 2017.
    """
    order = np.argsort(-answers.confidence, kind="stable")
    errors_of_first = np.concatenate([[0], np.cumsum(answers.wrong[order])])
    numbers = np.searchsorted(-answers.confidence[order], -GRID, side="right")
    errors = errors_of_first[numbers]
    level = level / candidates
    is_testable = error_bound(np.zeros_like(numbers), numbers, level) <= error_rate
    is_safe = (error_bound(errors, numbers, level) <= error_rate)[is_testable]
    until_failure = np.logical_and.accumulate(is_safe)
    thresholds = GRID[is_testable][until_failure]
    return float(thresholds[-1]) if len(thresholds) else None
