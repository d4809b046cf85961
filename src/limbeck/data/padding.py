"""Padding of texts: batches are as long as their longest text."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from limbeck._base.errors import DataError
from limbeck.data.randomness import random_order
from limbeck.data.split import read_parts
from limbeck.data.text.tokenizer import Tokenizer

MULTIPLE = 8
"""Lengths of batches are multiples of it, so that a compiled student sees few different ones."""
WINDOW = 32
"""Largest number of batches whose texts are sorted by their length."""
MIN_WINDOWS = 4
"""Smallest number of such windows in an epoch, so that batches differ from epoch to epoch."""


def cut_padding(inputs: Tensor, padding: int | None) -> Tensor:
    """Cut texts to the length of the longest, rounded up to a multiple of 8.

    Args:
        inputs: Token ids ``[..., L]``.
        padding: Id of the padding; None for inputs that are not texts, which stay as they are.

    Returns:
        Token ids ``[..., l]``, ``l <= L``.
    """
    if padding is None or inputs.numel() == 0:
        return inputs
    is_used = (inputs != padding).flatten(0, -2).any(0)
    longest = int(is_used.nonzero().max()) + 1 if bool(is_used.any()) else 1
    return inputs[..., : -(-longest // MULTIPLE) * MULTIPLE]


def lengths_of(inputs: Tensor, padding: int) -> Tensor:
    """Return the number of tokens of each text, int64 ``[N]``.

    Args:
        inputs: Token ids ``[N, L]``.
        padding: Id of the padding.
    """
    return torch.cat([(part != padding).sum(1) for part in read_parts(inputs)])


def group_by_length(rows: Tensor, lengths: Tensor, batch_size: int, order: Tensor) -> Tensor:
    """Put texts of similar length into the same batch.

    The texts of some consecutive batches are sorted by their length, and then all batches are put
    into another order.

    Args:
        rows: Rows of the texts in the random order of an epoch, int64 ``[M]``.
        lengths: Length of each row of the split, int64 ``[N]``.
        batch_size: Number of texts in a batch.
        order: Order of the complete batches, int64 ``[M // batch_size]``. If it is the same for all
            seeds of a cohort, their texts have similar lengths too.

    Returns:
        The rows in their new order, int64 ``[M]``.
    """
    batches = len(order)
    window = batch_size * min(WINDOW, max(1, batches // MIN_WINDOWS))
    parts = [part[lengths[part].argsort(stable=True)] for part in rows.split(window)]
    rows = torch.cat(parts)
    complete = rows[: batches * batch_size].view(batches, batch_size)
    return torch.cat([complete[order].flatten(), rows[batches * batch_size :]])


def describe_lengths(inputs: Tensor, padding: int, batch_size: int) -> str:
    """Describe how many tokens texts have, and how many a student computes for them.

    Args:
        inputs: Token ids of the training split, ``[N, L]``.
        padding: Id of the padding.
        batch_size: Number of texts in a batch.
    """
    lengths = lengths_of(inputs, padding)
    order = torch.arange(len(inputs) // batch_size)
    rows = group_by_length(random_order(len(inputs), 0), lengths, batch_size, order)
    computed = 0
    for batch in rows.split(batch_size):
        longest = -(-int(lengths[batch].max()) // MULTIPLE) * MULTIPLE
        computed += len(batch) * min(longest, inputs.shape[1])
    mean, count = float(lengths.float().mean()), len(inputs)
    return (
        f"texts have {mean:.1f} tokens on average; in batches of similar lengths "
        f"{computed / count:.1f} are computed instead of {inputs.shape[1]}"
    )


def join_padded(inputs: Sequence[Tensor], padding: int | None) -> Tensor:
    """Concatenate batches of texts, after the shorter ones are padded to the longest.

    Args:
        inputs: Token ids ``[S, B, l]`` of different lengths; or other inputs, of equal shapes.
        padding: Id of the padding; None for inputs that are not texts.
    """
    if padding is None:
        return torch.cat(list(inputs))
    longest = max(part.shape[-1] for part in inputs)
    return torch.cat(
        [functional.pad(part, (0, longest - part.shape[-1]), value=padding) for part in inputs]
    )


def check_texts(inputs: Tensor, tokenizer: Tokenizer, *, where: str) -> None:
    """Check that inputs are token ids, with the padding at the end of each text.

    Args:
        inputs: Token ids ``[N, L]``.
        tokenizer: Tokenizer of the texts.
        where: Dataset and split, for messages.

    Raises:
        DataError: If they are not, or if a text is empty.
    """
    if inputs.ndim != 2 or inputs.dtype not in (torch.int32, torch.int64):
        raise DataError(
            f"{where}: expected token ids as integers [texts, length], got {inputs.dtype} of shape "
            f"{list(inputs.shape)}."
        )
    first, padding = 0, tokenizer.padding
    for part in read_parts(inputs):
        low, high = map(int, torch.aminmax(part))
        if low < 0 or high >= tokenizer.padded_size:
            raise DataError(
                f"{where}: token ids range from {low} to {high}, but those of the tokenizer are "
                f"from 0 to {tokenizer.padded_size - 1}."
            )
        is_token = part != padding
        is_wrong = (is_token[:, 1:] & ~is_token[:, :-1]).any(1) | ~is_token[:, 0]
        if bool(is_wrong.any()):
            row = first + int(is_wrong.nonzero()[0])
            raise DataError(
                f"{where}: text {row} is empty, or has the padding (id {padding}) before its end."
            )
        first += len(part)
