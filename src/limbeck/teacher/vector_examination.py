"""Examination of a teacher of embeddings, on validation texts."""

import numpy as np
import torch

from limbeck.losses.vectors import unit
from limbeck.run.finding import NOTE, STOP, Finding

COLLAPSED = 0.999
"""Mean cosine of different texts above which all vectors count as equal."""


def judge_vectors(vectors: np.ndarray, name: str) -> Finding:
    """Return the finding about a teacher's vectors of different texts.

    Args:
        vectors: Vectors, ``[N, D]``.
        name: Name of the teacher, for the finding.
    """
    broken, count = int((~np.isfinite(vectors)).any(1).sum()), len(vectors)
    if broken:
        return _finding(
            STOP,
            f"the vectors of {name} are not finite.",
            f"They are NaN or infinite for {broken} of {count} validation texts.",
        )
    mean_cosine = mean_similarity(torch.from_numpy(vectors))
    evidence = f"The mean cosine of two of {count} validation texts is {mean_cosine:.3f}."
    if mean_cosine > COLLAPSED:
        text = f"{name} gives all texts nearly the same vector, so there is nothing to learn."
        remedy = "choose a model that was trained as a sentence encoder, such as all-MiniLM-L6-v2"
        return _finding(STOP, text, evidence, remedy)
    return _finding(NOTE, f"{name} gives vectors of {vectors.shape[1]} dimensions.", evidence)


def mean_similarity(vectors: torch.Tensor) -> float:
    """Compute the mean cosine of two different vectors of ``[N, D]``; 0 for a single one."""
    units, count = unit(vectors).double(), len(vectors)
    if count < 2:
        return 0.0
    total = units.sum(0).square().sum() - units.square().sum()
    return float(total / (count * (count - 1)))


def _finding(level: str, text: str, evidence: str = "", remedy: str = "") -> Finding:
    text = text[0].upper() + text[1:]
    return Finding(level=level, subject="teacher", text=text, evidence=evidence, remedy=remedy)
