"""Batches as index slices of a data set that lies on the training device: no worker processes, no
copies in Python.

The order of an epoch is a pure function of (seed, epoch), the view of a sample of (seed, epoch,
index): a run that is resumed, or split otherwise, sees the same.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from limbeck.data.dataset import Dataset, Split, as_float
from limbeck.data.randomness import replayable_integers
from limbeck.data.transfer_set import TransferSet, mixing_pool
from limbeck.data.views.base import NoViews, Views
from limbeck.losses import UNLABELLED, is_labelled

EVALUATION_BATCH, EVALUATION_VALUES = 1000, 1 << 22
"""Inputs at a time, and values in them: large images come a few at a time."""
_ORDER = -1
"""Stands for the order of an epoch where the views have the number of a sample."""


class Mixed(NamedTuple):
    """What mixtures of two samples add to a batch for S seeds.

    Attributes:
        labels: of the second sample of each ``[S, B]``, -100 where there is none.
        weight: of the first one, float32 from 0 to 1, ``[S, B]``; the second has the rest.
    """

    labels: Tensor
    weight: Tensor


class Batch(NamedTuple):
    """A batch for S seeds at once.

    Attributes:
        x: inputs ``[S, B, *shape]``.
        y: labels ``[S, B]``, -100 where there is none; of text ``[S, B, T]``, -100 at positions
            that no loss sees.
        sample: rows of the training split or of what a source gave ``[S, B]``; None where the batch
            is not of a study.
        view: the view of each ``[S, B]``; likewise.
        mixed: the second sample's share where each input is a mixture of two; None where none is.
        counts: labelled predictions (a number or ``[S]``) and predictions that the losses are
            divided by; None to count. A sample is one prediction, a block of text one for each
            position.
    """

    x: Tensor
    y: Tensor
    sample: Tensor | None = None
    view: Tensor | None = None
    mixed: Mixed | None = None
    counts: tuple[Tensor | float, float] | None = None


def as_batch(batch: object) -> Batch:
    """A :class:`Batch` as it is; a plain ``(x, y)`` as a batch for one seed.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(batch, Batch):
        return batch
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        x, y = batch
        return Batch(torch.as_tensor(x)[None], torch.as_tensor(y)[None])
    raise TypeError(f"A batch should be a pair (x, y); found {type(batch).__name__}.")


class TrainBatches:
    """The batches of one epoch after the other, for all seeds of a cohort at once.

    Args:
        train: the training split, or what another source gave, on the training device.
        index: rows of it that take part, ``[M]``.
        labels: of these rows, -100 where there is none, ``[M]``; None for the split's own.
        views: how they are shown.
        seeds: one order and one draw of views each.
        batch_size: samples a step; the last step of an epoch takes what is left.
        epoch: tells the number of the epoch that begins.
        rank: of this process among those that share each batch; it takes every ``processes``-th
            sample.
        processes: how many share each batch.
    """

    def __init__(
        self,
        train: Split,
        index: Tensor,
        labels: Tensor | None,
        *,
        views: Views,
        seeds: Sequence[int],
        batch_size: int,
        epoch: Callable[[], int],
        rank: int = 0,
        processes: int = 1,
    ):
        self.train, self.index = train, index
        self.views, self.seeds, self.batch_size, self.epoch = views, list(seeds), batch_size, epoch
        self.rank, self.processes = rank, processes
        self.pool = index if labels is None else mixing_pool(index, labels)
        self._label_of = train.labels
        if labels is not None:
            self._label_of = torch.full((len(train),), UNLABELLED, device=labels.device).index_copy(
                0, index, labels
            )
        self._all_labelled = labels is None or bool((labels != UNLABELLED).all())

    def __len__(self) -> int:
        return math.ceil(len(self.index) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch()
        order = torch.stack([epoch_order(len(self.index), seed, epoch) for seed in self.seeds]).to(
            self.index.device
        )
        index = self.index[order]
        view = torch.stack(
            [
                self.views.draw(seed, epoch, rows)
                for seed, rows in zip(self.seeds, index, strict=True)
            ]
        )
        for whole in zip(
            *(part.split(self.batch_size, dim=1) for part in (index, view)), strict=True
        ):
            counts = self._counts(*whole)
            rows, seen = (
                whole if self.processes == 1 else (p[:, self.rank :: self.processes] for p in whole)
            )
            inputs = self.views.show(self.train.inputs, rows.flatten(), seen.flatten(), self.pool)
            x = as_float(inputs).view(*rows.shape, *inputs.shape[1:])
            yield Batch(x, self._labels(rows), rows, seen, self._mixed(rows, seen), counts)

    def _labels(self, rows: Tensor) -> Tensor:
        return (
            self._label_of.index_select(0, rows.flatten())
            .long()
            .view(*rows.shape, *self._label_of.shape[1:])
        )

    def _mixed(self, rows: Tensor, view: Tensor) -> Mixed | None:
        if not self.views.mixes:
            return None
        partner, weight = self.views.pair(rows.flatten(), view.flatten(), self.pool)
        return Mixed(self._label_of[partner].view(rows.shape), weight.view(rows.shape))

    def _counts(self, rows: Tensor, view: Tensor) -> tuple[Tensor | float, float]:
        """Labelled predictions and predictions of a whole batch, each divided by the number of
        processes.
        """
        predictions = rows.shape[1] * self._label_of.shape[1:].numel() / self.processes
        if self._all_labelled:
            return predictions, predictions
        return is_labelled(self._labels(rows), self._mixed(rows, view)).sum(
            -1
        ) / self.processes, predictions


def epoch_order(samples: int, seed: int, epoch: int) -> Tensor:
    """The order of the samples in one epoch, a permutation; a pure function of its arguments."""
    # The generator of the CPU reads only the low 32 bits of its seed, so seed and epoch are mixed
    # into these.
    mixed = int(replayable_integers(seed, epoch, torch.tensor(_ORDER))) & 0xFFFFFFFF
    return torch.randperm(samples, generator=torch.Generator().manual_seed(mixed))


class EvaluationBatches:
    """Whole split in order, the same inputs for each of S seeds.

    Args:
        split: on the device of the model.
        seeds: S.
        batch_size: samples at a time; None for as many as suit their size.
        classes: of text, whose logits are larger than its inputs.
    """

    def __init__(
        self, split: Split, *, seeds: int = 1, batch_size: int | None = None, classes: int = 1
    ):
        values = max(split.inputs.shape[1:].numel() * (classes if split.labels.ndim > 1 else 1), 1)
        self.split, self.seeds = split, seeds
        self.batch_size = batch_size or max(1, min(EVALUATION_BATCH, EVALUATION_VALUES // values))

    def __len__(self) -> int:
        return math.ceil(len(self.split) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.split), self.batch_size):
            x = as_float(self.split.inputs[start : start + self.batch_size])
            y = self.split.labels[start : start + self.batch_size].long()
            yield Batch(x.expand(self.seeds, *x.shape), y.expand(self.seeds, *y.shape))


class StudyData:
    """Training and validation batches of one cohort; the test split is not in here.

    Args:
        data: The dataset.
        seeds: Seeds of the cohort.
        batch_size: Number of samples a step.
        views: Views of the training inputs; validation inputs are shown unchanged.
        transfer: Rule that selects samples and labels.
        pool: Split to select from; None for the training split.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        seeds: Sequence[int],
        batch_size: int,
        views: Views | None = None,
        transfer: TransferSet | None = None,
        pool: Split | None = None,
    ):
        self.data, self.seeds, self.batch_size = data, list(seeds), batch_size
        self.epoch = 0
        self.views = views or NoViews()
        self.pool = data.train if pool is None else pool
        self.index, self.labels = (transfer or TransferSet()).select(self.pool, data.class_names)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the training batches give next."""
        self.epoch = epoch

    def train_batches(
        self, device: torch.device, *, rank: int = 0, processes: int = 1
    ) -> TrainBatches:
        """Batches of the transfer set on a device; several processes share each of them."""
        labels = None if self.data.tokenizer is not None else self.labels.to(device)
        return TrainBatches(
            self.pool.to(device),
            self.index.to(device),
            labels,
            views=self.views,
            seeds=self.seeds,
            batch_size=self.batch_size,
            epoch=lambda: self.epoch,
            rank=rank,
            processes=processes,
        )

    def val_batches(self, device: torch.device) -> EvaluationBatches:
        """Batches of the validation split on a device."""
        return EvaluationBatches(
            self.data.val.to(device), seeds=len(self.seeds), classes=self.data.classes
        )
