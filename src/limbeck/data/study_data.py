"""Batches of the models that a study trains together."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from limbeck.data.batches import Batch, EvaluationBatches, Mixed, Share, TrainBatches
from limbeck.data.dataset import Dataset, Split
from limbeck.data.dropped_tokens import WithDroppedTokens
from limbeck.data.padding import join_padded
from limbeck.data.resampling import SplitPart
from limbeck.data.transfer_set import TransferSet
from limbeck.data.views.base import NoViews, Views


class JoinedBatches:
    """Batches of several parts of a cohort, joined along the seeds.

    Args:
        parts: Batches of each part, equally many and of equal sizes.
        padding: Id of the padding of texts; None for other inputs.
    """

    def __init__(
        self,
        parts: Sequence[TrainBatches] | Sequence[EvaluationBatches],
        padding: int | None = None,
    ):
        self.parts = parts
        self.padding = padding

    def __len__(self) -> int:
        return len(self.parts[0])

    def __iter__(self) -> Iterator[Batch]:
        return self._join(map(iter, self.parts))

    def batches_from(self, first: int) -> Iterator[Batch]:
        """Iterate over the training batches of an epoch, without the first ones."""
        parts = [part for part in self.parts if isinstance(part, TrainBatches)]
        return self._join(part.batches_from(first) for part in parts)

    def _join(self, parts: Iterable[Iterator[Batch]]) -> Iterator[Batch]:
        for batches in zip(*parts, strict=True):
            yield join_seeds(batches, self.padding)


def join_seeds(batches: Sequence[Batch], padding: int | None = None) -> Batch:
    """Join batches of equal sizes along the seeds.

    Args:
        batches: Batches to join.
        padding: Id of the padding of texts; None for other inputs.
    """
    first = batches[0]
    x = join_padded([batch.x for batch in batches], padding)
    y = torch.cat([batch.y for batch in batches])
    if first.sample is None or first.view is None:
        return Batch(x, y)
    mixed = None
    if first.mixed is not None:
        pairs = [batch.mixed for batch in batches if batch.mixed is not None]
        mixed = Mixed(*(torch.cat(values) for values in zip(*pairs, strict=True)))
    return Batch(
        x,
        y,
        torch.cat([batch.sample for batch in batches if batch.sample is not None]),
        torch.cat([batch.view for batch in batches if batch.view is not None]),
        mixed,
        _joined_counts(batches),
    )


def _joined_counts(batches: Sequence[Batch]) -> tuple[Tensor | float, float] | None:
    counts = [batch.counts for batch in batches if batch.counts is not None]
    if not counts:
        return None
    labelled = [count for count, _ in counts]
    if isinstance(labelled[0], Tensor):
        return torch.cat([count for count in labelled if isinstance(count, Tensor)]), counts[0][1]
    return counts[0]


class StudyData:
    """Training and validation batches of one cohort, without the test split.

    Args:
        data: Dataset of the study.
        seeds: Seeds of the cohort.
        batch_size: Number of samples in a batch.
        views: Views of the training inputs; validation inputs are shown without views.
        transfer: Rule that selects samples and labels; None for all.
        pool: Split to select from; None for the training split.
        parts: Seeds with their samples, in the order of ``seeds``; None if all have the same.
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
        parts: Sequence[SplitPart] | None = None,
    ):
        self.data = data
        self.batch_size = batch_size
        self.epoch = 0
        self.views = views or NoViews()
        self.pool = data.train if pool is None else pool
        self.parts = list(parts or [SplitPart(0, list(seeds), None, data.val)])
        rule = transfer or TransferSet()
        self._selections = [
            rule.select(self.pool, data.class_names, part.rows) for part in self.parts
        ]

    @property
    def index(self) -> Tensor:
        """Rows of the pool that the models of the first part are trained on."""
        return self._selections[0][0]

    @property
    def labels(self) -> Tensor:
        """Labels of the samples of the first part, of which some may be missing."""
        return self._selections[0][1]

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch."""
        self.epoch = epoch

    def train_batches(
        self, device: torch.device, *, rank: int = 0, processes: int = 1
    ) -> TrainBatches | JoinedBatches | WithDroppedTokens:
        """Return the batches of the transfer set; for embeddings with another view of each text.

        Args:
            device: Device of the training.
            rank: Number of this process.
            processes: Number of processes that share each batch.
        """
        pool = self.pool.to(device)
        batches = []
        for part, (index, labels) in zip(self.parts, self._selections, strict=True):
            of_part = TrainBatches(
                pool,
                index.to(device),
                None if self.data.positions is not None else labels.to(device),
                views=self.views,
                seeds=part.seeds,
                batch_size=self.batch_size,
                epoch=lambda: self.epoch,
                share=Share(rank, processes),
            )
            batches.append(of_part)
        padding = self.data.padding
        joined = batches[0] if len(batches) == 1 else JoinedBatches(batches, padding)
        if self.data.kind.outputs != "vectors" or padding is None:
            return joined
        seeds = [seed for part in self.parts for seed in part.seeds]
        return WithDroppedTokens(joined, seeds, padding, lambda: self.epoch)

    def val_batches(self, device: torch.device) -> EvaluationBatches | JoinedBatches:
        """Return the batches of the validation split on a device."""
        batches = []
        for part in self.parts:
            val, classes = part.val.to(device), self.data.classes
            batches.append(EvaluationBatches(val, seeds=len(part.seeds), classes=classes))
        return batches[0] if len(batches) == 1 else JoinedBatches(batches, self.data.padding)
