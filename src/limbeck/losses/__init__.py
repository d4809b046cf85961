"""Losses between a student, a teacher and labels.

Names are imported on first use, so that the table of soft losses can be read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.losses.base import UNLABELLED, HardLoss, Setting, SoftLoss
    from limbeck.losses.chunked import chunked_loss
    from limbeck.losses.class_weights import balanced_weights
    from limbeck.losses.divergences import (
        cross_entropy,
        jensen_shannon,
        kl_divergence,
        reverse_kl,
        standardised,
    )
    from limbeck.losses.features import (
        Feature,
        attention_loss,
        cosine_loss,
        hint_loss,
    )
    from limbeck.losses.hard import (
        HARD_LOSSES,
        hard_loss,
        is_labelled,
        smoothed_cross_entropy,
        squared_error_of_grades,
        without_label,
    )
    from limbeck.losses.labels import balanced_label_weights, binary_cross_entropy, binary_kl
    from limbeck.losses.objective import Objective
    from limbeck.losses.relations import attention_scores_loss, relation_loss
    from limbeck.losses.soft import (
        SOFT_LOSSES,
        decoupled,
        relational,
        squared_error_of_logits,
        squared_error_of_probabilities,
    )
    from limbeck.losses.sparse import SparseTargets, sparse_cross_entropy, sparse_kl
    from limbeck.losses.stacked import SPARSE_LOSSES, StackedObjective, Terms
    from limbeck.losses.tasks import TASKS, Task
    from limbeck.losses.values import (
        bounded_squared_error,
        huber,
        huber_of_values,
        squared_error,
        squared_error_of_values,
    )
    from limbeck.losses.vectors import (
        contrastive,
        cosine_distance,
        similarity_difference,
        squared_distance,
    )

__all__ = [
    "HARD_LOSSES",
    "SOFT_LOSSES",
    "SPARSE_LOSSES",
    "TASKS",
    "UNLABELLED",
    "Feature",
    "HardLoss",
    "Objective",
    "Setting",
    "SoftLoss",
    "SparseTargets",
    "StackedObjective",
    "Task",
    "Terms",
    "attention_loss",
    "attention_scores_loss",
    "balanced_label_weights",
    "balanced_weights",
    "binary_cross_entropy",
    "binary_kl",
    "bounded_squared_error",
    "chunked_loss",
    "contrastive",
    "cosine_distance",
    "cosine_loss",
    "cross_entropy",
    "decoupled",
    "hard_loss",
    "hint_loss",
    "huber",
    "huber_of_values",
    "is_labelled",
    "jensen_shannon",
    "kl_divergence",
    "relation_loss",
    "relational",
    "reverse_kl",
    "similarity_difference",
    "smoothed_cross_entropy",
    "sparse_cross_entropy",
    "sparse_kl",
    "squared_distance",
    "squared_error",
    "squared_error_of_grades",
    "squared_error_of_logits",
    "squared_error_of_probabilities",
    "squared_error_of_values",
    "standardised",
    "without_label",
]

_MODULES = {
    "base": ("HardLoss", "Setting", "SoftLoss", "UNLABELLED"),
    "chunked": ("chunked_loss",),
    "class_weights": ("balanced_weights",),
    "divergences": (
        "cross_entropy",
        "jensen_shannon",
        "kl_divergence",
        "reverse_kl",
        "standardised",
    ),
    "features": ("Feature", "attention_loss", "cosine_loss", "hint_loss"),
    "hard": (
        "HARD_LOSSES",
        "hard_loss",
        "is_labelled",
        "smoothed_cross_entropy",
        "squared_error_of_grades",
        "without_label",
    ),
    "labels": ("balanced_label_weights", "binary_cross_entropy", "binary_kl"),
    "objective": ("Objective",),
    "relations": ("attention_scores_loss", "relation_loss"),
    "soft": (
        "SOFT_LOSSES",
        "decoupled",
        "relational",
        "squared_error_of_logits",
        "squared_error_of_probabilities",
    ),
    "sparse": ("SparseTargets", "sparse_cross_entropy", "sparse_kl"),
    "stacked": ("SPARSE_LOSSES", "StackedObjective", "Terms"),
    "tasks": ("TASKS", "Task"),
    "values": (
        "bounded_squared_error",
        "huber",
        "huber_of_values",
        "squared_error",
        "squared_error_of_values",
    ),
    "vectors": ("contrastive", "cosine_distance", "similarity_difference", "squared_distance"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"limbeck.losses.{module}"), name)
    raise AttributeError(f"module 'limbeck.losses' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
