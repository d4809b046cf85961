"""Losses between a student, a teacher and labels; they need torch alone."""

from limbeck.losses.chunked import chunked_loss
from limbeck.losses.class_weights import balanced_weights
from limbeck.losses.divergences import (
    cross_entropy,
    jensen_shannon,
    kl_divergence,
    reverse_kl,
    standardised,
)
from limbeck.losses.features import Feature, attention_loss, hint_loss
from limbeck.losses.objective import Objective
from limbeck.losses.response import (
    SOFT_LOSSES,
    UNLABELLED,
    decoupled,
    hard_loss,
    is_labelled,
    relational,
    smoothed_cross_entropy,
    squared_error_of_grades,
    squared_error_of_logits,
    squared_error_of_probabilities,
)
from limbeck.losses.sparse import SPARSE_LOSSES, SparseTargets, sparse_cross_entropy, sparse_kl
from limbeck.losses.stacked import StackedObjective, Terms

__all__ = [
    "SOFT_LOSSES",
    "SPARSE_LOSSES",
    "UNLABELLED",
    "Feature",
    "Objective",
    "SparseTargets",
    "StackedObjective",
    "Terms",
    "attention_loss",
    "balanced_weights",
    "chunked_loss",
    "cross_entropy",
    "decoupled",
    "hard_loss",
    "hint_loss",
    "is_labelled",
    "jensen_shannon",
    "kl_divergence",
    "relational",
    "reverse_kl",
    "smoothed_cross_entropy",
    "sparse_cross_entropy",
    "sparse_kl",
    "squared_error_of_grades",
    "squared_error_of_logits",
    "squared_error_of_probabilities",
    "standardised",
]
