"""The transfer set: which training samples a student sees, and which of them have a label."""

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.config import UNLABELLED
from limbeck.data.dataset import Split
from limbeck.errors import ConfigError


@dataclass(frozen=True)
class TransferSet:
    """A rule that picks samples of the training split for a student.

    Both counts are taken evenly over the classes, as far as these go; a fraction of samples is of the training split, a
    fraction of labels is of the samples picked.

    Attributes:
        samples: how many samples, as a number or as a fraction; None or 1.0 for all (1 is one sample).
        labelled: how many of them keep their label, likewise; None for all. The teacher answers for every sample,
            the hard loss counts the labelled ones only.
        seed: which ones. It does not change with the seed of a student, so that all learn from the same samples.
    """

    samples: int | float | None = None
    labelled: int | float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("samples", "labelled"):
            value = getattr(self, field)
            if isinstance(value, float) and value == 1:
                object.__setattr__(self, field, None)

    @property
    def name(self) -> str:
        """Short name for tables."""
        whole = "all" if self.samples is None else _amount(self.samples)
        parts = [whole] if self.labelled is None else [whole, f"{_amount(self.labelled)} labelled"]
        picks = self.samples is not None or self.labelled is not None
        return ", ".join(parts + [f"seed {self.seed}"] * (picks and self.seed != 0))

    def select(self, train: Split) -> tuple[Tensor, Tensor]:
        """Pick the samples.

        Args:
            train: the training split.

        Returns:
            Row numbers in ``train`` (int64, ascending, ``[M]``) and their labels, -100 where there is none (``[M]``).

        Raises:
            ConfigError: a count is out of range.
        """
        order = even_order(train.labels.cpu(), self.seed)
        chosen = order[: _count(self.samples, "transfer.samples", len(train))]
        labelled = chosen[: _count(self.labelled, "transfer.labelled", len(chosen))]
        labels = torch.full((len(train),), UNLABELLED)
        labels[labelled] = train.labels.cpu()[labelled]
        index = chosen.sort().values
        return index, labels[index]


def mixing_pool(index: Tensor, labels: Tensor) -> Tensor:
    """The rows that views may mix in: those with a label, or all where none has one.

    So a sample that has a label keeps it in a mixture, and one without stays without: a control that learns from few
    labels sees as many of them as it does unmixed.

    Args:
        index: rows of a transfer set, ``[M]``.
        labels: of these rows, -100 where there is none, ``[M]``.

    Returns:
        Rows, int64 ``[P]``.
    """
    labelled = index[labels != UNLABELLED]
    return labelled if len(labelled) else index


def even_order(labels: Tensor, seed: int) -> Tensor:
    """An order of the samples whose every beginning holds the classes as evenly as can be.

    Args:
        labels: int64, ``[N]``.
        seed: of the order within a class.

    Returns:
        A permutation of 0 to N - 1.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - starts[labels[by_class]]
    return by_class[rank.argsort(stable=True)]


def _amount(value: int | float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"


def _count(value: int | float | None, name: str, most: int) -> int:
    if value is None:
        return most
    count: object = value
    if isinstance(value, float) and 0 < value < 1:
        count = max(1, round(value * most))
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
        asked = f"{name}={value!r}" if count is value else f"{name}={value!r} of {most}, that is {count},"
        raise ConfigError(
            f"{asked} should be a whole number from 1 to {most}, or a fraction above 0 and at most 1.0 (all)."
        )
    return count
