"""Means of losses and metrics over an epoch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.data.labels import are_tokens
from limbeck.losses import is_labelled

Counts = tuple[Tensor | float, Tensor | float]
"""Labelled predictions and all predictions of a batch: a number each, or ``[S]``."""
Reduce = Callable[[Tensor], Tensor]
"""Function that sums a tensor over all processes."""


def count_predictions(y: Tensor) -> Counts:
    """Count the labelled predictions and all predictions of each seed.

    Args:
        y: Labels ``[S, B]``, ``[S, B, T]`` for text or ``[S, B, D]`` for values.
    """
    labelled = is_labelled(y).flatten(1).sum(-1)
    if are_tokens(y):
        return labelled, labelled
    return labelled, float(y.shape[1])


class RunningMeans:
    """Weighted means ``[M, A, S]`` of M metrics of A arms and S seeds.

    The sums stay on the device until they are read, so that steps do not wait for it.

    Args:
        names: Name of each metric.
    """

    def __init__(self, names: Sequence[str]):
        self.names = names
        self._sums: Tensor | None = None
        self._counts: Tensor | float = 0.0

    def reset(self) -> None:
        """Begin a new epoch."""
        self._sums = None
        self._counts = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts so far, in CPU memory."""
        counts = self._counts
        return {
            "sums": None if self._sums is None else self._sums.cpu(),
            "counts": counts.cpu() if isinstance(counts, Tensor) else counts,
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Continue from the sums and counts of :meth:`state_dict`."""
        sums, counts = state["sums"], state["counts"]
        self._sums = None if sums is None else sums.to(device)
        self._counts = counts.to(device) if isinstance(counts, Tensor) else counts

    def add(self, values: Tensor, counts: Tensor | float) -> None:
        """Add a batch.

        Args:
            values: Means over the batch, ``[M, A, S]``.
            counts: Number of predictions that each mean covers: one number, or a tensor that
                broadcasts.
        """
        if self._sums is None:
            self._sums = values * counts
        elif isinstance(counts, Tensor):
            self._sums.addcmul_(values, counts.to(values.dtype).expand_as(values))
        else:
            self._sums.add_(values, alpha=counts)
        self._counts = self._counts + counts

    def compute(self, reduce: Reduce) -> dict[str, list[list[float]]]:
        """Means over the epoch and all processes, ``[A][S]`` by name; empty without a batch."""
        if self._sums is None:
            return {}
        sums = reduce(self._sums)
        counts = reduce(torch.as_tensor(self._counts, device=sums.device))
        means = (sums / counts.clamp(min=1e-6)).tolist()
        return dict(zip(self.names, means, strict=False))


def joined_means(states: Sequence[Mapping[str, Any]], *, is_first: bool) -> dict[str, Any]:
    """Return the state of a process from those of all processes of a training.

    Args:
        states: States of :meth:`RunningMeans.state_dict`.
        is_first: Whether it is the first process, which gets the sums; the others get zeros.
    """
    sums = [state["sums"] for state in states if state["sums"] is not None]
    if not sums:
        return {"sums": None, "counts": 0.0}
    factor = float(is_first)
    counts = sum(state["counts"] for state in states)
    return {"sums": torch.stack(sums).sum(0) * factor, "counts": counts * factor}


def weights_of_terms(values: Tensor, counts: Counts) -> Tensor | float:
    """Number of predictions in each loss term; the hard term counts only labelled ones.

    Args:
        values: Terms ``[M, A, S]`` in the order loss, hard, soft, others.
        counts: Labelled predictions and all predictions.

    Returns:
        One number if all predictions are labelled, else ``[M, A, S]``.
    """
    labelled, samples = counts
    if not isinstance(labelled, Tensor):
        return labelled
    labelled = labelled.expand(values.shape[1:]).to(values.dtype)
    all_samples = torch.as_tensor(samples, dtype=values.dtype, device=values.device)
    all_samples = all_samples.expand_as(labelled)
    return torch.stack([all_samples, labelled, *[all_samples] * (len(values) - 2)])
