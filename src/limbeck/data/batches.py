"""Batches as index slices of a dataset on the training device, without worker processes.

The order of an epoch is a pure function of (seed, epoch), and the view of a sample of (seed, epoch,
index). So a resumed run, or a run with another number of processes, sees the same batches.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck._base.signals import check_interrupt
from limbeck.data.dataset import Split, as_float
from limbeck.data.inputs import Inputs, ModelInputs
from limbeck.data.labels import predictions_per_sample
from limbeck.data.padding import cut_padding, group_by_length, lengths_of
from limbeck.data.randomness import random_order, replayable_integers
from limbeck.data.transfer_set import mixing_pool
from limbeck.data.views.base import Views
from limbeck.losses import is_labelled, without_label
from limbeck.models.batch_size import forward_batch_size

EVALUATION_BATCH = 1000
"""Largest number of inputs in an evaluation batch."""
EVALUATION_VALUES = 1 << 22
"""Largest number of values in the inputs of an evaluation batch, unless one input has more."""
_ORDER = -1
"""Index under which the order of an epoch is drawn; views are drawn under the index of a sample."""


class Mixed(NamedTuple):
    """The second samples of a batch of mixtures, for S seeds.

    Attributes:
        labels: Labels of the second samples, as those of a :class:`Batch`.
        weight: Weights of the first samples, float32 ``[S, B]``, from 0 to 1. The second samples
            have the remaining weight.
    """

    labels: Tensor
    weight: Tensor


class Batch(NamedTuple):
    """A batch for S seeds.

    Attributes:
        x: Inputs ``[S, B, *shape]``; texts of one class each are cut to the longest.
        y: Labels, int64 ``[S, B]``; -100 for unlabelled samples. For text ``[S, B, T]``, with -100
            at ignored positions. For regression float32 ``[S, B, D]``, with NaN for unlabelled
            samples.
        sample: Rows of the training split or of a source's inputs, int64 ``[S, B]``; None
            outside a study.
        view: View of each sample, int64 ``[S, B]``; None outside a study.
        mixed: Second samples if each input is a mixture of two; None otherwise.
        counts: Number of labelled predictions (a number or ``[S]``) and number of predictions, by
            which the losses are divided; None to count them. A sample counts as one prediction, a
            block of text as one per position.
        inputs: All inputs of a single student if it takes several, ``[B, ...]`` each; ``x`` is then
            the first of them. None otherwise.
        teacher_inputs: Inputs of the teacher, ``[B, ...]``, if they are not those of the student.
        other: Other views of the texts for the contrastive loss, ``[S, B, l]``; None without it.
    """

    x: Tensor
    y: Tensor
    sample: Tensor | None = None
    view: Tensor | None = None
    mixed: Mixed | None = None
    counts: tuple[Tensor | float, float] | None = None
    inputs: Inputs | None = None
    teacher_inputs: ModelInputs | None = None
    other: Tensor | None = None


def student_inputs(batch: Batch) -> ModelInputs:
    """Return the inputs of a cohort, ``[S, B, ...]``, or several of one student, ``[B, ...]``."""
    return batch.x if batch.inputs is None else batch.inputs


def own_inputs(batch: Batch) -> ModelInputs:
    """Return the inputs of the only student, ``[B, ...]`` each."""
    return batch.x[0] if batch.inputs is None else batch.inputs


def teacher_inputs(batch: Batch) -> ModelInputs:
    """Return the inputs of the teacher for a batch of a user, ``[S * B, ...]`` each."""
    if batch.teacher_inputs is not None:
        return batch.teacher_inputs
    return batch.x.flatten(0, 1) if batch.inputs is None else batch.inputs


class Share(NamedTuple):
    """The share of one process in each batch.

    Attributes:
        rank: Number of the process. It takes every ``processes``-th sample, starting at ``rank``.
        processes: Number of processes that share each batch.
    """

    rank: int
    processes: int


WHOLE_BATCH = Share(rank=0, processes=1)


class TrainBatches:
    """Training batches for all seeds of a cohort; each iteration is one epoch.

    Texts of one class each are in batches of similar lengths.

    Args:
        train: Training split, or the inputs of another source, on the training device.
        index: Rows of ``train`` to use, int64 ``[M]``.
        labels: Labels of these rows, ``[M]`` or ``[M, D]``, of which some may be missing; None for
            the labels of ``train``.
        views: Views of the inputs.
        seeds: Seeds of the cohort. Each has its own order and views.
        batch_size: Number of samples in a batch; the last batch of an epoch may have fewer.
        epoch: Function that returns the number of the next epoch.
        share: Part of each batch that this process takes.
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
        share: Share = WHOLE_BATCH,
    ):
        self.train = train
        self.index = index
        self.views = views
        self.seeds = list(seeds)
        self.batch_size = batch_size
        self.epoch = epoch
        self.share = share
        self._lengths = None if train.padding is None else lengths_of(train.inputs, train.padding)
        if labels is None:
            self.pool = index
            self._label_of = train.labels
            self._all_labelled = True
        else:
            self.pool = mixing_pool(index, labels)
            self._label_of = without_label(labels, len(train)).index_copy(0, index, labels)
            self._all_labelled = bool(is_labelled(labels).all())

    def __len__(self) -> int:
        return math.ceil(len(self.index) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self.batches_from(0)

    def batches_from(self, first: int) -> Iterator[Batch]:
        """Iterate over the batches of an epoch, without the first ones.

        Args:
            first: Number of batches to leave out.
        """
        epoch = self.epoch()
        rank, processes = self.share
        all_rows, all_views = self._draw(epoch)
        parts = zip(
            all_rows.split(self.batch_size, dim=1),
            all_views.split(self.batch_size, dim=1),
            strict=True,
        )
        for rows, view in itertools.islice(parts, first, None):
            counts = self._counts(rows, view)
            if processes > 1:
                rows, view = rows[:, rank::processes], view[:, rank::processes]
            inputs = self.views.show(self.train.inputs, rows.flatten(), view.flatten(), self.pool)
            inputs = cut_padding(inputs, self.train.padding)
            x = as_float(inputs).view(*rows.shape, *inputs.shape[1:])
            yield Batch(x, self._labels(rows), rows, view, self._mixed(rows, view), counts)
            MAPPED_FILES.release()

    def _draw(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Draw the rows and the views of an epoch in order, int64 ``[S, M]`` each."""
        rows, views = [], []
        device = self.index.device
        batches = epoch_order(len(self.index) // self.batch_size, 0, epoch).to(device)
        for seed in self.seeds:
            order = epoch_order(len(self.index), seed, epoch)
            rows.append(self.index[order.to(device)])
            if self._lengths is not None:
                rows[-1] = group_by_length(rows[-1], self._lengths, self.batch_size, batches)
            views.append(self.views.draw(seed, epoch, rows[-1]))
        return torch.stack(rows), torch.stack(views)

    def _labels(self, rows: Tensor) -> Tensor:
        labels = _as_labels(self._label_of.index_select(0, rows.flatten()))
        return labels.view(*rows.shape, *labels.shape[1:])

    def _mixed(self, rows: Tensor, view: Tensor) -> Mixed | None:
        if not self.views.mixes:
            return None
        partner, weight = self.views.pair(rows.flatten(), view.flatten(), self.pool)
        labels = self._label_of[partner]
        return Mixed(labels.view(*rows.shape, *labels.shape[1:]), weight.view(rows.shape))

    def _counts(self, rows: Tensor, view: Tensor) -> tuple[Tensor | float, float]:
        """Count the labelled predictions and the predictions of a whole batch, per process."""
        processes = self.share.processes
        predictions = rows.shape[1] * predictions_per_sample(self._label_of[None]) / processes
        if self._all_labelled:
            return predictions, predictions
        labelled = is_labelled(self._labels(rows), self._mixed(rows, view)).sum(-1)
        return labelled / processes, predictions


def epoch_order(samples: int, seed: int, epoch: int) -> Tensor:
    """Draw the order of the samples in one epoch, a pure function of its arguments.

    Args:
        samples: Number of samples.
        seed: Seed of a student.
        epoch: Number of the epoch.

    Returns:
        A permutation, int64 ``[samples]``.
    """
    # PyTorch's generator on the CPU reads only the low 32 bits of its seed, so all bits of seed and
    # epoch are hashed into these.
    hashed = int(replayable_integers(seed, epoch, torch.tensor(_ORDER))) & 0xFFFFFFFF
    return random_order(samples, hashed)


def _as_labels(labels: Tensor) -> Tensor:
    """Return class numbers and tokens as int64, and values as they are."""
    return labels if labels.is_floating_point() else labels.long()


class EvaluationBatches:
    """A whole split in order, with the same inputs for each of S seeds.

    Args:
        split: Split on the device of the model.
        seeds: Number of seeds, S.
        batch_size: Number of samples in a batch; None to derive it from
            the size of the inputs.
        classes: Number of tokens in the vocabulary of a text, whose logits are larger than its
            inputs.
        models: Models that answer the batches, which are smaller for models with convolutions.
    """

    def __init__(
        self,
        split: Split,
        *,
        seeds: int = 1,
        batch_size: int | None = None,
        classes: int = 1,
        models: Sequence[nn.Module] = (),
    ):
        self.split = split
        self.seeds = seeds
        if batch_size is None:
            values = split.inputs.shape[1:].numel()
            if split.labels.ndim > 1:
                values *= classes
            most = min(EVALUATION_BATCH, forward_batch_size(models))
            batch_size = max(1, min(most, EVALUATION_VALUES // max(values, 1)))
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.split) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.split), self.batch_size):
            check_interrupt()
            rows = slice(start, start + self.batch_size)
            x = as_float(cut_padding(self.split.inputs[rows], self.split.padding))
            y = _as_labels(self.split.labels[rows])
            yield Batch(x.expand(self.seeds, *x.shape), y.expand(self.seeds, *y.shape))
            MAPPED_FILES.release()
