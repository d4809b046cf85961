"""Losses between a student, a teacher and labels; they need torch alone."""

from limbeck.losses.class_weights import balanced_weights
from limbeck.losses.divergence import cross_entropy, kl_divergence, standardised
from limbeck.losses.feature import Feature, attention_loss, hint_loss
from limbeck.losses.objective import Objective, StackedObjective, Terms
from limbeck.losses.response import (
    SOFT_LOSSES,
    UNLABELLED,
    decoupled,
    hard_loss,
    is_labelled,
    relational,
    squared_error_of_grades,
    squared_error_of_logits,
    squared_error_of_probabilities,
)

__all__ = [
    "SOFT_LOSSES",
    "UNLABELLED",
    "Feature",
    "Objective",
    "StackedObjective",
    "Terms",
    "attention_loss",
    "balanced_weights",
    "cross_entropy",
    "decoupled",
    "hard_loss",
    "hint_loss",
    "is_labelled",
    "kl_divergence",
    "relational",
    "squared_error_of_grades",
    "squared_error_of_logits",
    "squared_error_of_probabilities",
    "standardised",
]
