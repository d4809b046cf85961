"""How a store keeps an answer as bytes: all its logits, or a part of the classes.

A record of K classes is packed, little-endian: float16 numbers, then the K classes in 1, 2 or 4
bytes each. The numbers of ``topk`` are K log-probabilities at T = 1 and two of all other classes
(:func:`~limbeck.store.sampling.tail_of`), those of ``sampled`` K weights times 2^15: float16 then
holds weights down to 2^-29 with 11 bits.
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
IDS = {1: torch.uint8, 2: torch.uint16, 4: torch.int32}
WEIGHT_SCALE = 2.0**15
UNIFORM_BITS = 36
"""Bits of a uniform number; few enough that float64 adds the teeth of a comb to it exactly."""
CHUNK_LOGITS = 1 << 20
"""Number of logits of which classes are chosen at once, which bounds the memory this takes."""


def encode(logits: Tensor, header: Header, number: Tensor) -> Tensor:
    """Encode answers as bytes.

    Args:
        logits: Finite float32 logits, ``[B, C]`` or ``[B, T, C]``.
        header: Header of the store.
        number: Number of the row and view of each answer, int64 ``[B]``. The random numbers of a
            draw follow from it and from the samples.

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
    places = record_numbers(header, number.to(logits.device)).split(chunk)
    for part, place in zip(rows, places, strict=True):
        records.append(_sparse(part, header, place))
    return torch.cat(records).view(len(number), -1)


def record_numbers(header: Header, number: Tensor) -> Tensor:
    """Number of each record, int64 ``[B * T]``, for numbers of rows and views, ``[B]``."""
    position = torch.arange(header.positions, device=number.device)
    return (number[:, None] * header.positions + position).flatten()


def _dense(logits: Tensor, dtype: str) -> Tensor:
    rounded = logits.to(DTYPES[dtype])
    if not bool(torch.isfinite(rounded).all()):
        most = torch.finfo(DTYPES[dtype]).max
        raise TeacherError(
            f"The teacher's logits reach {float(logits.abs().max()):.4g}, more than {dtype} can "
            f"hold ({most:.4g}). Store them with store.dtype=float32."
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
    ids = ids.to(IDS[id_bytes(header.classes)])
    return torch.cat([numbers.half().view(torch.uint8), ids.view(torch.uint8)], -1)


def draw(logits: Tensor, header: Header, record: Tensor) -> tuple[Tensor, Tensor]:
    """Draw classes for a store of sampled ones.

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

    It is a pure function of the samples and the record's number.
    """
    bits = replayable_bits(header.seed, record) >> (64 - UNIFORM_BITS)
    return ((bits & ((1 << UNIFORM_BITS) - 1)).double() + 0.5) * 2.0**-UNIFORM_BITS


def decode(records: Tensor, header: Header) -> Tensor | SparseTargets:
    """Decode answers.

    Args:
        records: Logits ``[..., C]`` of a dense store, or bytes, uint8 ``[..., bytes]``.
        header: Header of the store.

    Returns:
        float32 logits; or classes with their log-probabilities, or with the logs of their weights,
        which sum to 1.
    """
    if header.kind == "dense":
        return upcast(records)
    first_id = records.shape[-1] - header.k * id_bytes(header.classes)
    numbers = _view(records[..., :first_id], torch.float16).float()
    ids = _view(records[..., first_id:], IDS[id_bytes(header.classes)]).long()
    if header.kind == "topk":
        log_p, tail = numbers[..., : header.k], numbers[..., header.k :]
        return SparseTargets(ids, log_p, tail, header.classes)
    log_weights = (numbers / numbers.sum(-1, keepdim=True)).log()
    return SparseTargets(ids, log_weights, None, header.classes)


def _view(part: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes as numbers of a type, copied so that they are aligned."""
    return part.clone(memory_format=torch.contiguous_format).view(dtype)
