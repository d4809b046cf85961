"""Losses between a student, a teacher and labels; they need torch alone."""

from limbeck.losses.divergence import cross_entropy, kl_divergence
from limbeck.losses.objective import Objective, StackedObjective, Terms
from limbeck.losses.response import (
    SOFT_LOSSES,
    UNLABELLED,
    hard_loss,
    is_labelled,
    squared_error_of_logits,
    squared_error_of_probabilities,
)

__all__ = [
    "SOFT_LOSSES",
    "UNLABELLED",
    "Objective",
    "StackedObjective",
    "Terms",
    "cross_entropy",
    "hard_loss",
    "is_labelled",
    "kl_divergence",
    "squared_error_of_logits",
    "squared_error_of_probabilities",
]
