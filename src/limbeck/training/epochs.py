"""Numbers of batches and steps of a training, and iteration over an epoch."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from limbeck._base.errors import ConfigError
from limbeck._base.signals import check_interrupt
from limbeck.data.batches import TrainBatches
from limbeck.data.dropped_tokens import WithDroppedTokens
from limbeck.data.study_data import JoinedBatches
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

    Raises:
        ConfigError: If the share is less than one batch.
    """
    try:
        length: float = len(loader)
    except (TypeError, NotImplementedError):  # a DataLoader over an iterable dataset
        length = math.inf
    if limit is None:
        return length
    if isinstance(limit, float):
        if 0 < length * limit < 1:
            raise ConfigError(
                f"A share of {limit} of {length} batches is less than one batch. Use a larger "
                "share, or a number of batches, in trainer.limit_train_batches and "
                "trainer.limit_val_batches."
            )
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
    loader: Iterable[Any],
    length: float,
    *,
    first: int = 0,
    look_ahead: bool = False,
    read: Callable[[Any], Any] | None = None,
    accepts: Callable[[Any], bool] | None = None,
) -> Iterator[NumberedBatch]:
    """Iterate over the numbered batches of an epoch.

    Args:
        loader: Iterable of batches.
        length: Number of batches to read; infinite for all of a loader without a length.
        first: Number of batches to leave out, because a checkpoint was saved after them.
        look_ahead: Whether to read one batch ahead, to mark the last one.
        read: Function that converts a batch of the loader; None to use it as it is.
        accepts: Function that returns False for a batch to leave out; None to use all.

    Raises:
        Interrupted: If the user has interrupted the process.
    """
    remaining = batches_from(loader, first)
    limited = remaining if length == math.inf else itertools.islice(remaining, int(length) - first)
    if read is not None:
        limited = map(read, limited)
    batches = enumerate(limited if accepts is None else filter(accepts, limited), start=first + 1)
    if not look_ahead:
        for number, batch in batches:
            check_interrupt()
            yield NumberedBatch(number, batch, False)
        return
    current = next(batches, None)
    while current is not None:
        following = next(batches, None)
        check_interrupt()
        yield NumberedBatch(*current, following is None)
        current = following


def batches_from(loader: Iterable[Any], first: int) -> Iterable[Any]:
    """Batches of an epoch without the first ones, which are not computed if the loader can skip.

    Args:
        loader: Iterable of batches, such as :class:`~limbeck.data.batches.TrainBatches`.
        first: Number of batches to leave out.
    """
    if first == 0:
        return loader
    if isinstance(loader, (TrainBatches, JoinedBatches, WithDroppedTokens)):
        return loader.batches_from(first)
    return itertools.islice(loader, first, None)
