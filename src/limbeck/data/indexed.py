"""Datasets whose samples have their index, by which a loader can look up a teacher's answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset


class Indexed(Dataset[Any]):
    """A dataset whose samples end with their index, for :func:`limbeck.distill` with answers.

    Args:
        dataset: Dataset whose samples are ``(x, y)`` or dictionaries.
        ids: Id of each sample, as in the file of answers; None for the numbers from 0.

    Example:
        ``DataLoader(Indexed(dataset), batch_size=64, shuffle=True)`` returns batches
        ``(x, y, index)``.
    """

    def __init__(self, dataset: Any, ids: Sequence[Any] | None = None):
        self.dataset, self.ids = dataset, ids

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Any:
        sample = self.dataset[number]
        index = number if self.ids is None else self.ids[number]
        if isinstance(sample, Mapping):
            return {**sample, "index": index}
        return (*sample, index)
