"""Content of the shards of a store."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from limbeck.store.answers import TeacherPass
from limbeck.store.codec import encode
from limbeck.store.key import Header

MIN_BATCHES = 8
"""Minimum number of batches in a piece."""
MAX_PIECES = 10_000
"""Number of pieces above which pieces get larger."""


@dataclass(frozen=True)
class Piece:
    """A range of answers that one worker computes: some batches of a larger range.

    Attributes:
        first: Number of the first answer.
        end: Number after the last answer.
        batch: Number of inputs of a batch.
    """

    first: int
    end: int
    batch: int

    def __len__(self) -> int:
        return self.end - self.first


def split_range(first: int, end: int, batch: int, count: int) -> list[Piece]:
    """Split a range of answers into pieces of whole batches.

    Args:
        first: Number of the first answer.
        end: Number after the last answer.
        batch: Number of inputs of a batch.
        count: Number of answers in all ranges, so that there are not too many pieces.
    """
    step = batch * max(MIN_BATCHES, -(-count // (batch * MAX_PIECES)))
    return [Piece(start, min(start + step, end), batch) for start in range(first, end, step)]


@dataclass(frozen=True)
class Shards:
    """Shards of a store to compute.

    Attributes:
        teacher_pass: Pass that computes the answers.
        header: Header of the store.
        numbers: Numbers of the shards.
    """

    teacher_pass: TeacherPass
    header: Header
    numbers: Sequence[int]


ComputeShards: TypeAlias = Callable[[Shards, Callable[[int], object]], Iterator[tuple[int, bytes]]]
"""Function that computes the content of shards, in this process or elsewhere.

It takes the shards, and a function to call with the number of answers computed so far. It yields
the number and content of each shard, in any order.
"""


def compute_shards(shards: Shards, advance: Callable[[int], object]) -> Iterator[tuple[int, bytes]]:
    """Compute shards one after the other in this process; see :data:`ComputeShards`."""
    header = shards.header
    done = 0
    for shard in shards.numbers:
        start = done

        def count(number: int, start: int = start) -> None:
            advance(start + number)

        yield shard, compute_shard(shards.teacher_pass, header, shard, count)
        done += len(header.rows_of(shard)) * header.views


def compute_shard(
    teacher_pass: TeacherPass,
    header: Header,
    shard: int,
    advance: Callable[[int], object] = lambda count: None,
) -> bytes:
    """Compute the content of a shard.

    Args:
        teacher_pass: Pass that computes the answers.
        header: Header of the store.
        shard: Number of the shard.
        advance: Function to call with the number of its answers computed so far.

    Raises:
        TeacherError: If the logits are not all finite, or too large for the type of the store.
    """
    return _encode(teacher_pass, header, _whole(teacher_pass, header, shard), advance)


def pieces_of_shard(teacher_pass: TeacherPass, header: Header, shard: int) -> list[Piece]:
    """Return the pieces whose contents, one after the other, are that of a shard."""
    whole = _whole(teacher_pass, header, shard)
    return split_range(whole.first, whole.end, whole.batch, teacher_pass.count)


def compute_piece(teacher_pass: TeacherPass, header: Header, piece: Piece) -> bytes:
    """Compute the content of a piece; see :func:`compute_shard`."""
    return _encode(teacher_pass, header, piece, lambda count: None)


def _whole(teacher_pass: TeacherPass, header: Header, shard: int) -> Piece:
    """Return the range of a shard."""
    rows = header.rows_of(shard)
    first, end = rows.start * header.views, rows.stop * header.views
    return Piece(first, end, teacher_pass.batch_of(end - first))


def _encode(
    teacher_pass: TeacherPass, header: Header, piece: Piece, advance: Callable[[int], object]
) -> bytes:
    records = []
    done = 0
    for number, logits in teacher_pass.compute_all(piece.first, piece.end, piece.batch):
        records.append(encode(logits, header, number).cpu())
        done += len(number)
        advance(done)
    return torch.cat(records).numpy().tobytes()
