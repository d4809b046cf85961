"""Resampling of the training and the validation split, so that a study can vary them too."""

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from limbeck.data.arrays import row_hashes
from limbeck.data.dataset import Dataset, Split
from limbeck.data.randomness import integers_for, random_order

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, without their integer part, are spread evenly from 0 to 1."""


@dataclass(frozen=True)
class SplitPart:
    """The seeds that share a training and a validation split.

    Attributes:
        number: Number of the split.
        seeds: Seeds of the models.
        rows: Rows of the pool for training, int64 ``[M]``; None for all.
        val: Validation samples.
    """

    number: int
    seeds: list[int]
    rows: Tensor | None
    val: Split


class ResampledSplits:
    """Training and validation splits of a dataset, drawn several times from the same samples.

    The first split is that of the dataset. The others have as many samples, and as many of each
    class, in training and in validation. Samples with the same input, or of the same group, are
    never in both. The validation split of text is a stretch of consecutive blocks.

    Args:
        data: Dataset, whose test split does not change.
        seeds: Seeds of the students. Each split has as many, in their order.
        count: Number of splits, of which the number of seeds is a multiple.

    Attributes:
        pool: Samples of all splits. With one split, the training samples; otherwise the training
            samples followed by the validation samples.
        val_rows: Function that returns the rows of the pool in a validation split, int64 ``[V]``,
            if there are several splits.

    References:
        Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", 2021.
    """

    def __init__(self, data: Dataset, seeds: Sequence[int], count: int = 1):
        self.data = data
        self.seeds = list(seeds)
        self.count = count
        self.pool = data.train
        if count > 1:
            self.pool = Split(
                torch.cat([data.train.inputs, data.val.inputs]),
                torch.cat([data.train.labels, data.val.labels]),
                np.concatenate([data.train.sample_ids, data.val.sample_ids]),
                data.train.padding,
                _joined(data.train.groups, data.val.groups),
            )
        self.val_rows = cache(self._draw)

    def train_rows(self, number: int) -> Tensor | None:
        """Rows of the pool in a training split, int64 ``[M]``, ascending; None for all."""
        if self.count == 1:
            return None
        is_train = torch.ones(len(self.pool), dtype=torch.bool)
        is_train[self.val_rows(number)] = False
        return is_train.nonzero().flatten()

    def train(self, number: int) -> Split:
        """Return the samples of a training split."""
        rows = self.train_rows(number)
        return self.data.train if rows is None else self.pool.take(rows)

    def val(self, number: int) -> Split:
        """Return the samples of a validation split."""
        return self.data.val if number == 0 else self.pool.take(self.val_rows(number))

    def dataset(self, number: int) -> Dataset:
        """Return the dataset with another training and validation split."""
        if number == 0:
            return self.data
        resampled = copy.copy(self.data)
        resampled.train, resampled.val = self.train(number), self.val(number)
        return resampled

    def split_of(self, seed: int) -> int:
        """Return the number of the split of a seed."""
        return self.seeds.index(seed) * self.count // len(self.seeds)

    def part(self, number: int, seeds: Sequence[int]) -> SplitPart:
        """Return a split with the seeds of models to train on it."""
        return SplitPart(number, list(seeds), self.train_rows(number), self.val(number))

    def groups(self, seeds: Sequence[int]) -> list[tuple[int, list[int]]]:
        """Group seeds of students, in their order, by the number of their split."""
        return [(number, list(group)) for number, group in itertools.groupby(seeds, self.split_of)]

    def parts(self, seeds: Sequence[int]) -> list[SplitPart]:
        """Group seeds of students by their split, with its samples."""
        return [self.part(number, group) for number, group in self.groups(seeds)]

    def _draw(self, number: int) -> Tensor:
        """Draw the rows of a validation split, int64 ``[V]``, ascending."""
        train, val = len(self.data.train), len(self.data.val)
        if number == 0:
            return torch.arange(train, train + val)
        if self.data.positions is not None:
            start = train + int(number * GOLDEN % 1 * (train + val))
            return (torch.arange(start, start + val) % (train + val)).sort().values
        is_val = torch.arange(train + val) >= train
        seed = int(integers_for("splits", torch.tensor(number), torch.tensor(0))) & 0xFFFFFFFF
        if self.pool.groups is not None:
            return _draw_groups(self.pool.groups, is_val, seed)
        is_single = self._is_single
        rows = [is_val.logical_and(~is_single).nonzero().flatten()]
        order = random_order(train + val, seed)
        for members in self._strata():
            of_stratum = is_single & members
            candidates = order[of_stratum[order]]
            rows.append(candidates[: int((of_stratum & is_val).sum())])
        return torch.cat(rows).sort().values

    def _strata(self) -> Iterator[Tensor]:
        """Yield masks of the pool, bool ``[N]``: the samples of each class; all without classes."""
        labels = self.pool.labels
        if labels.is_floating_point() or self.data.kind.outputs == "vectors":
            yield torch.ones(len(labels), dtype=torch.bool)
            return
        for label in range(self.data.classes):
            yield labels == label

    @cached_property
    def _is_single(self) -> Tensor:
        """Whether no other sample has the same input, bool ``[N]``."""
        hashes = row_hashes(self.pool.inputs)
        _, group, sizes = hashes.unique(return_inverse=True, return_counts=True)
        return sizes[group] == 1


def _joined(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else torch.cat([first, second])


def _draw_groups(groups: Tensor, is_val: Tensor, seed: int) -> Tensor:
    """Draw as many groups of each size as there are in a validation split.

    Args:
        groups: Number of the group of each sample, int64 ``[N]``.
        is_val: Whether each sample is in the validation split, bool ``[N]``.
        seed: Seed of the draw.

    Returns:
        Rows of the samples, ascending.
    """
    _, group, sizes = groups.unique(return_inverse=True, return_counts=True)
    was_val = torch.zeros(len(sizes), dtype=torch.bool)
    was_val[group[is_val]] = True
    in_val = torch.zeros_like(was_val)
    order = random_order(len(sizes), seed)
    for size in sizes.unique():
        has_size = sizes == size
        candidates = order[has_size[order]]
        in_val[candidates[: int((was_val & has_size).sum())]] = True
    return in_val[group].nonzero().flatten()
