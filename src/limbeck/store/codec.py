"""Encoding of answers as bytes: all logits, or some of the classes.

A record of K classes is packed, little-endian: float16 numbers, then the K classes in 1, 2 or 4
bytes each. ``topk`` has K log-probabilities at T = 1 and two numbers for all other classes
(:func:`~limbeck.store.sampling.tail_of`). ``sampled`` has K weights times 2^15, so that float16
represents weights down to 2^-29 with 11 bits.
"""

import torch
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.data.randomness import replayable_bits
from limbeck.losses.divergences import upcast
from limbeck.losses.sparse import SparseTargets
from limbeck.store.key import Header, id_bytes
from limbeck.store.sampling import most_probable, probabilities, systematic_sample

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
ID_DTYPES = {1: torch.uint8, 2: torch.uint16, 4: torch.int32}
WEIGHT_SCALE = 2.0**15
UNIFORM_BITS = 36
"""Bits of a uniform number; few enough for exact sums with the indices of draws in float64."""
CHUNK_LOGITS = 1 << 20
"""Number of logits from which classes are selected at once, to bound the memory."""


def encode(logits: Tensor, header: Header, number: Tensor) -> Tensor:
    """Encode answers as bytes.

    Args:
        logits: Finite float32 logits, ``[B, C]`` or ``[B, T, C]``.
        header: Header of the store.
        number: Number of each answer, int64 ``[B]``. It and the samples determine the random
            numbers of a draw.

    Returns:
        Records, uint8 ``[B, bytes]``, on the device of ``logits``.

    Raises:
        TeacherError: If the dtype of dense logits cannot hold them.
    """
    if header.kind == "dense":
        return _dense(logits, header.dtype).view(torch.uint8).flatten(1)
    records = []
    chunk = max(1, CHUNK_LOGITS // header.classes)
    rows = logits.reshape(-1, header.classes).split(chunk)
    numbers = record_numbers(header, number.to(logits.device)).split(chunk)
    for part, record in zip(rows, numbers, strict=True):
        records.append(_sparse(part, header, record))
    return torch.cat(records).view(len(number), -1)


def record_numbers(header: Header, number: Tensor) -> Tensor:
    """Number of each record, int64 ``[B * T]``, from the numbers of answers ``[B]``."""
    position = torch.arange(header.positions, device=number.device)
    return (number[:, None] * header.positions + position).flatten()


def _dense(logits: Tensor, dtype: str) -> Tensor:
    rounded = logits.to(DTYPES[dtype])
    if not bool(torch.isfinite(rounded).all()):
        largest = torch.finfo(DTYPES[dtype]).max
        raise TeacherError(
            f"The teacher's logits reach {float(logits.abs().max()):.4g}, more than {dtype} can "
            f"hold ({largest:.4g}). Store them with store.dtype=float32."
        )
    return rounded


def _sparse(logits: Tensor, header: Header, record: Tensor) -> Tensor:
    """Records, uint8 ``[R, bytes]``, of logits ``[R, C]``."""
    if header.kind == "topk":
        ids, log_p, tail = most_probable(logits, header.k)
        numbers = torch.cat([log_p, tail], -1)
    else:
        ids, weights = draw(logits, header, record)
        numbers = weights * WEIGHT_SCALE
    ids = ids.to(ID_DTYPES[id_bytes(header.classes)])
    return torch.cat([numbers.half().view(torch.uint8), ids.view(torch.uint8)], -1)


def draw(logits: Tensor, header: Header, record: Tensor) -> tuple[Tensor, Tensor]:
    """Draw classes for a store of kind ``sampled``.

    Args:
        logits: Logits ``[R, C]``.
        header: Header of the store.
        record: Number of each record, int64 ``[R]``.

    Returns:
        Classes and their weights, ``[R, K]`` each.
    """
    p = probabilities(logits, header.temperature or 1.0)
    return systematic_sample(p, header.k, uniform(header, record))


def uniform(header: Header, record: Tensor) -> Tensor:
    """A uniform number strictly between 0 and 1 for each record, float64.

    It depends only on the samples and the number of the record.
    """
    bits = replayable_bits(header.seed, record) >> (64 - UNIFORM_BITS)
    return ((bits & ((1 << UNIFORM_BITS) - 1)).double() + 0.5) * 2.0**-UNIFORM_BITS


def decode(records: Tensor, header: Header) -> Tensor | SparseTargets:
    """Decode answers.

    Args:
        records: Logits ``[..., C]`` of a dense store, or bytes, uint8 ``[..., bytes]``.
        header: Header of the store.

    Returns:
        float32 logits, or classes with log-probabilities (``topk``) or with the logs of weights
        that sum to 1 (``sampled``).
    """
    if header.kind == "dense":
        return upcast(records)
    first_id = records.shape[-1] - header.k * id_bytes(header.classes)
    numbers = _view(records[..., :first_id], torch.float16).float()
    ids = _view(records[..., first_id:], ID_DTYPES[id_bytes(header.classes)]).long()
    if header.kind == "topk":
        log_p, tail = numbers[..., : header.k], numbers[..., header.k :]
        return SparseTargets(ids, log_p, tail, header.classes)
    log_weights = (numbers / numbers.sum(-1, keepdim=True)).log()
    return SparseTargets(ids, log_weights, None, header.classes)


def _view(part: Tensor, dtype: torch.dtype) -> Tensor:
    """Reinterpret bytes as numbers of a dtype, after a copy that aligns them."""
    return part.clone(memory_format=torch.contiguous_format).view(dtype)
