"""Answers of simulated classifiers, whose real error rates are known."""

from functools import cache

import numpy as np
from scipy import stats

from limbeck.evaluation.abstention import Answers


def draw(rng: np.random.Generator, samples: int, overconfidence: float = 1.0) -> Answers:
    """Answers whose probability of an error is a multiple of the missing confidence."""
    confidence = 1 - 0.5 * rng.beta(0.5, 2.0, samples)
    return Answers(confidence, rng.random(samples) < overconfidence * (1 - confidence))


@cache
def real_error_rate(threshold: float, overconfidence: float = 1.0) -> float:
    """Error rate above a threshold, by integration over the density of the confidence."""
    missing = np.linspace(0, 1, 200_001)[1:]
    weights = stats.beta(0.5, 2.0).pdf(missing) * (0.5 * missing <= 1 - threshold)
    return overconfidence * float((weights * 0.5 * missing).sum() / weights.sum())
