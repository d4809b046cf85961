"""Numbers of batches and steps of a training, and iteration over an epoch."""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from limbeck.training.options import TrainerOptions


class NumberedBatch(NamedTuple):
    """A batch, its number in the epoch (from 1), and whether it is known to be the last one."""

    number: int
    batch: Any
    is_last: bool


def count_batches(loader: Any, limit: int | float | None) -> float:
    """Number of batches of an epoch; infinite if the loader has no length.

    Args:
        loader: Iterable of batches.
        limit: Maximum number of batches, or a share of them as a float; None for all.
    """
    try:
        length: float = len(loader)
    except (TypeError, NotImplementedError):  # a DataLoader over an iterable dataset
        length = math.inf
    if limit is None:
        return length
    if isinstance(limit, float):
        return length if length == math.inf else int(length * limit)
    return min(length, limit)


def count_steps(batches_per_epoch: float, options: TrainerOptions) -> int:
    """Number of optimizer steps of a training; -1 if unknown."""
    total = options.step_limit
    if batches_per_epoch < math.inf:
        steps = math.ceil(batches_per_epoch / options.accumulate_grad_batches)
        total = min(total, steps * (options.max_epochs or 1))
    return -1 if total == math.inf else int(total)


def read_epoch(
    loader: Iterable[Any], length: float, *, look_ahead: bool
) -> Iterator[NumberedBatch]:
    """Iterate over the numbered batches of an epoch.

    Args:
        loader: Iterable of batches.
        length: Number of batches to read; infinite for all of a loader without a length.
        look_ahead: Whether to read one batch ahead if the length is unknown, to mark the last one.
    """
    if length < math.inf:
        for number, batch in enumerate(itertools.islice(loader, int(length)), start=1):
            yield NumberedBatch(number, batch, number == length)
        return
    if not look_ahead:
        for number, batch in enumerate(loader, start=1):
            yield NumberedBatch(number, batch, False)
        return
    batches = enumerate(loader, start=1)
    current = next(batches, None)
    while current is not None:
        following = next(batches, None)
        yield NumberedBatch(*current, following is None)
        current = following
