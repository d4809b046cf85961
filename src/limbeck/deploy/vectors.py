"""Export of students of embeddings: vectors of length 1, and their gate."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.deploy.stage import Stage
from limbeck.evaluation.vectors import missed_neighbours, nearest_texts

SAME_DIFFERENCE = 1e-4
"""Largest difference of a value of two vectors of length 1 that are the same but for rounding."""
MAX_MISSED = 0.5
"""Number of the 10 nearest texts that an 8-bit model may miss, in the mean."""


class UnitVectors(nn.Module):
    """A model of embeddings whose vectors have length 1.

    Args:
        net: Model with vectors of any length.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor) -> Tensor:
        """Compute vectors ``[B, D]`` of token ids ``[B, l]``."""
        return F.normalize(self.net(ids), dim=-1)


@dataclass(frozen=True)
class VectorGate:
    """Gate of a model of embeddings. Each stage is compared with the one before it."""

    def check_same(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """Check that vectors are equal up to rounding."""
        difference = _largest_difference(outputs, reference)
        failures: tuple[str, ...] = ()
        if not difference <= SAME_DIFFERENCE:
            failures = (f"vectors differ by up to {difference:.3g}",)
        return self._stage(name, outputs, reference, failures)

    def check_similar(self, name: str, outputs: np.ndarray, reference: np.ndarray) -> Stage:
        """Check that the nearest texts are nearly the same."""
        missed = _missed(outputs, reference)
        failures: tuple[str, ...] = ()
        if not np.isfinite(outputs).all():
            failures = ("some vectors are infinite or NaN",)
        elif missed > MAX_MISSED:
            failures = (f"{missed:.2f} of 10 nearest texts are missed, {MAX_MISSED} are allowed",)
        return self._stage(name, outputs, reference, failures)

    def _stage(
        self, name: str, outputs: np.ndarray, reference: np.ndarray, failures: tuple[str, ...]
    ) -> Stage:
        return Stage(
            name,
            errors=0,
            max_difference=_largest_difference(outputs, reference),
            class_changes=0,
            failures=failures,
            missed_neighbours=_missed(outputs, reference),
        )


def _missed(outputs: np.ndarray, reference: np.ndarray) -> float:
    """Mean number of the 10 nearest texts of a reference that are not among those of outputs."""
    nearest, expected = (nearest_texts(torch.from_numpy(x)) for x in (outputs, reference))
    return float(missed_neighbours(nearest, expected).double().mean())


def _largest_difference(outputs: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(outputs.astype(np.float64) - reference).max())
