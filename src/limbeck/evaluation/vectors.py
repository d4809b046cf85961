"""Metrics of embeddings: how well the neighbours of a teacher are kept."""

import torch
from scipy import stats
from torch import Tensor

from limbeck.evaluation.metrics import finite_or_none
from limbeck.losses.vectors import unit
from limbeck.run.metrics import VectorMetrics

NEIGHBOURS = 10
"""Number of nearest texts that are compared."""
ROWS_AT_ONCE = 512
"""Number of texts whose similarities to all others are in memory."""
MAX_PAIRED = 1000
"""Largest number of texts all of whose pairs are ranked."""


def nearest_texts(vectors: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """Find the texts nearest to each text by the cosine of their vectors, in blocks of rows.

    Args:
        vectors: Vectors, ``[N, D]``.
        count: Number of neighbours k; all other texts if there are fewer.

    Returns:
        Rows of the neighbours, int64 ``[N, k]``. A text is no neighbour of itself.
    """
    units = unit(vectors)
    count = min(count, len(units) - 1)
    parts = []
    for rows in torch.arange(len(units)).split(ROWS_AT_ONCE):
        similarities = units[rows] @ units.T
        similarities[torch.arange(len(rows)), rows] = -torch.inf
        parts.append(similarities.topk(count).indices)
    return torch.cat(parts)


def missed_neighbours(nearest: Tensor, expected: Tensor) -> Tensor:
    """Count the neighbours of each text that are missing among others.

    With 10 neighbours it is 10 times one minus the recall at 10.

    Args:
        nearest: Rows of :func:`nearest_texts` of a student, ``[N, k]``.
        expected: Rows of a teacher, ``[N, k]``.

    Returns:
        int64, ``[N]``.
    """
    is_kept = (nearest[:, :, None] == expected[:, None, :]).any(1)
    return (~is_kept).sum(1)


def rank_correlation(vectors: Tensor, teacher: Tensor) -> float | None:
    """Compute Spearman's correlation of the similarities of all pairs of texts.

    Args:
        vectors: Vectors of a student, ``[N, D]``; of many texts the first :data:`MAX_PAIRED`.
        teacher: Vectors of its teacher, ``[N, E]``.

    Returns:
        The correlation; None if all similarities of one of them are equal.
    """
    pairs = []
    for one in (vectors, teacher):
        units = unit(one[:MAX_PAIRED])
        rows, columns = torch.triu_indices(len(units), len(units), offset=1)
        pairs.append((units @ units.T)[rows, columns])
    if any(bool((values == values[0]).all()) for values in pairs):
        return None
    return finite_or_none(torch.tensor(stats.spearmanr(*pairs).statistic))


def vector_metrics(
    vectors: Tensor, teacher: Tensor, missed: Tensor, probe_accuracy: float | None
) -> VectorMetrics:
    """Collect the metrics of one model.

    Args:
        vectors: Vectors of the model, ``[N, D]``.
        teacher: Vectors of the teacher, ``[N, D]``.
        missed: Result of :func:`missed_neighbours`, ``[N]``.
        probe_accuracy: Share of labelled texts that a classifier of the vectors gets right; None
            without labels.
    """
    cosines = (unit(vectors) * unit(teacher)).sum(-1)
    return VectorMetrics(
        errors=None,
        accuracy=None,
        nll=None,
        ece=None,
        agreement=None,
        kl_to_teacher=None,
        missed_neighbours=finite_or_none(missed.double().mean()),
        rank_correlation=rank_correlation(vectors, teacher),
        cosine_to_teacher=finite_or_none(cosines.double().mean()),
        probe_accuracy=probe_accuracy,
    )
