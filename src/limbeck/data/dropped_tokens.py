"""Other views of texts, in which tokens are dropped, for the contrastive loss."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from limbeck.data.batches import Batch
from limbeck.data.randomness import purpose_number, replayable_bits

SHARE = 0.5
"""Share of the tokens of a text that its other view lacks."""
_BITS = 31


def drop_tokens(x: Tensor, numbers: Tensor, padding: int, share: float = SHARE) -> Tensor:
    """Replace tokens of texts by the padding, a pure function of the numbers of the texts.

    The first two tokens stay, a special one and a word for most tokenizers, so that no text is
    empty.

    Args:
        x: Token ids, ``[..., l]``.
        numbers: Number of the view of each text, int64 ``[...]``.
        padding: Id of the padding.
        share: Probability with which each of the other tokens is dropped.
    """
    position = torch.arange(x.shape[-1], device=x.device)
    bits = replayable_bits(purpose_number("drop tokens"), numbers[..., None], position)
    is_dropped = (bits >> (63 - _BITS) & (1 << _BITS) - 1) < int(share * (1 << _BITS))
    return torch.where(is_dropped & (position > 1), padding, x)


class EpochBatches(Protocol):
    """Training batches of an epoch, of which the first ones can be left out."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...

    def batches_from(self, first: int) -> Iterator[Batch]:
        """Iterate over the batches without the first ones."""


class WithDroppedTokens:
    """Training batches of texts with another view of each text.

    Args:
        batches: Batches of texts.
        seeds: Seeds of the cohort, in the order of the batches.
        padding: Id of the padding.
        epoch: Function that returns the number of the next epoch.
    """

    def __init__(
        self,
        batches: EpochBatches,
        seeds: Sequence[int],
        padding: int,
        epoch: Callable[[], int],
    ):
        self.batches, self.seeds = batches, list(seeds)
        self.padding, self.epoch = padding, epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return self._with_views(self.batches)

    def batches_from(self, first: int) -> Iterator[Batch]:
        """Iterate over the batches of an epoch, without the first ones.

        Args:
            first: Number of batches to leave out.
        """
        return self._with_views(self.batches.batches_from(first))

    def _with_views(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        epoch = self.epoch()
        for batch in batches:
            assert batch.sample is not None
            seeds = torch.tensor(self.seeds, device=batch.x.device)[:, None]
            numbers = replayable_bits(epoch, seeds, batch.sample)
            yield batch._replace(other=drop_tokens(batch.x, numbers, self.padding))
