"""A linear probe: a classifier of frozen vectors, which shows what they know about labels."""

import warnings
from typing import Any, Self

import numpy as np
from torch import Tensor

from limbeck.losses.base import UNLABELLED
from limbeck.losses.vectors import unit

MAX_SAMPLES = 4000
"""Largest number of training samples of a probe."""
MAX_STEPS = 200
MIN_LABELLED = 20
"""Smallest number of labelled training samples for a probe."""


class Probe:
    """Logistic regression on vectors of length 1, which are standardised.

    Args:
        classifier: Fitted pipeline of scikit-learn.
    """

    def __init__(self, classifier: Any):
        self.classifier = classifier

    @classmethod
    def fit(cls, vectors: Tensor, labels: Tensor) -> Self | None:
        """Fit a probe.

        Args:
            vectors: Vectors of training samples, ``[N, D]``.
            labels: Their labels, ``[N]``.

        Returns:
            The probe; None if the vectors are not finite.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if not bool(vectors.isfinite().all()):
            return None
        steps = LogisticRegression(C=0.01, max_iter=MAX_STEPS)
        classifier = make_pipeline(StandardScaler(), steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(unit(vectors).numpy(), labels.numpy())
        return cls(classifier)

    def accuracy(self, vectors: Tensor, labels: Tensor) -> float | None:
        """Compute the share of labelled samples whose label the probe predicts; None without any.

        Args:
            vectors: Vectors, ``[N, D]``.
            labels: Labels, ``[N]``, :data:`limbeck.losses.UNLABELLED` for a sample without one.
        """
        mask = labels != UNLABELLED
        if not bool(mask.any()) or not bool(vectors[mask].isfinite().all()):
            return None
        predicted = self.classifier.predict(unit(vectors[mask]).numpy())
        return float(np.mean(predicted == labels[mask].numpy()))
