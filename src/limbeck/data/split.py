"""The inputs and labels of one split of a dataset."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import DataError
from limbeck._base.mapped_memory import MAPPED_FILES

PART_ROWS, PART_BYTES = 1 << 14, 1 << 23
"""Largest number of rows and of bytes read at once, as memory-mapped files may be large."""


def read_parts(values: Tensor) -> Iterator[Tensor]:
    """Yield the rows of a tensor, some at a time, which need not stay in memory."""
    row_bytes = max(1, values[:1].nbytes)
    for part in values.split(max(1, min(PART_ROWS, PART_BYTES // row_bytes))):
        yield part
        MAPPED_FILES.release()


@dataclass(frozen=True)
class Split:
    """Inputs and labels of one split.

    Attributes:
        inputs: Inputs ``[N, ...]``: uint8 images ``[N, C, H, W]`` (0 to 255), floats of any shape,
            rows of a table ``[N, F]`` (see :class:`~limbeck.data.TableColumns`), or int32 token ids
            ``[N, T]``. Texts of one class each end with the id of the padding.
        labels: Classes, int64 ``[N]``; for text the next token at each position, int32 ``[N, T]``;
            for regression the values of D targets, float32 ``[N, D]``; several labels, 0 or 1,
            float32 ``[N, L]``; for embeddings the classes of a probe, int64 ``[N]``, -100 for none.
        ids: Names of the samples in the user's files, text ``[N]``; or the row numbers, int64
            ``[N]``, of the samples in an array from which they were taken. None for the row numbers
            0 to N - 1.
        padding: Id of the padding at the end of texts of one class each; None for other inputs.
        groups: Number of the group of each sample, int64 ``[N]``; samples of one group, such as
            those of one person, are never in training and in validation. None without groups.

    Raises:
        DataError: If there is not one id for each sample.
    """

    inputs: Tensor
    labels: Tensor
    ids: np.ndarray | None = None
    padding: int | None = None
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        if self.ids is not None and len(self.ids) != len(self.labels):
            raise DataError(
                f"A split of {len(self.labels)} samples has {len(self.ids)} ids; expected one for "
                "each sample."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_on_disk(self) -> bool:
        """Whether inputs are read from the disk when they are needed, and do not stay in memory."""
        return MAPPED_FILES.holds(self.inputs.data_ptr())

    @property
    def sample_ids(self) -> np.ndarray:
        """Ids of the samples: names, or row numbers as int64."""
        return np.arange(len(self)) if self.ids is None else self.ids

    def take(self, index: Tensor) -> "Split":
        """Return the samples at ``index``, int64 ``[M]``, with their ids and groups."""
        return replace(
            self,
            inputs=self.inputs[index],
            labels=self.labels[index],
            ids=self.sample_ids[index.cpu().numpy()],
            groups=None if self.groups is None else self.groups[index.cpu()],
        )

    def first(self, count: int) -> "Split":
        """Return the first samples, at most ``count``."""
        return self.take(torch.arange(min(count, len(self))))

    def to(self, device: torch.device) -> "Split":
        """Return the split on a device."""
        return replace(self, inputs=self.inputs.to(device), labels=self.labels.to(device))


def digest_of_splits(splits: Iterable[Split]) -> str:
    """Return the SHA-256 of the inputs and labels of splits, in hexadecimal."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(f"{list(split.inputs.shape)} {split.inputs.dtype}".encode())
        for values in (split.inputs, split.labels):
            for part in read_parts(values):
                digest.update(part.cpu().contiguous().view(-1).numpy().data.cast("B"))
    return digest.hexdigest()
