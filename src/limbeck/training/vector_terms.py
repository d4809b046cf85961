"""The losses of a training step on vectors, for embeddings."""

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.data.inputs import ModelInputs
from limbeck.losses import StackedObjective, Terms
from limbeck.losses.sparse import SparseTargets
from limbeck.training.cohort.stack import Cohort
from limbeck.training.means import Counts


def vector_terms(
    cohort: Cohort,
    objective: StackedObjective,
    x: ModelInputs,
    targets: Tensor | SparseTargets | None,
    y: Tensor,
    counts: Counts,
    *,
    other: Tensor | None,
) -> Terms:
    """Compute the terms of vectors; those of other views of the texts take the place of labels.

    Args:
        cohort: Students.
        objective: Objectives of the students.
        x: Inputs, ``[S, B, l]``.
        targets: Vectors of the teacher; None if no arm has a soft loss.
        y: Labels, which are not used.
        counts: Numbers of texts to divide by.
        other: Other views of the texts, ``[S, B, l]``; None without a study of texts.

    Raises:
        ConfigError: If an arm has a contrastive loss, and there are no other views.
    """
    if not objective.learns_from_labels:
        return objective(cohort(x), targets, y, counts=counts)
    if other is None or not isinstance(x, Tensor):
        raise ConfigError(
            "objective.hard=contrastive compares texts with other views of them, which a "
            "limbeck.Study of texts makes. Use it there, or set hard_weight=0."
        )
    own, others = cohort(torch.cat([x, other], 1)).chunk(2, dim=-2)
    return objective(own, targets, others, counts=counts)
