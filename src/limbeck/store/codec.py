"""How a store keeps an answer: as bytes, all logits of it or some classes.

A record of K classes is packed, little-endian: float16 numbers, then the K classes in 1, 2 or 4
bytes each. The numbers of ``topk`` are K log-probabilities at T = 1 and two of all other classes
(:func:`~limbeck.store.sampling.tail_of`), those of ``sampled`` K weights times 2^15: float16 holds
weights down to 2^-29 with 11 bits then.
"""

import math

import torch
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.data.randomness import replayable_bits
from limbeck.losses.divergences import upcast
from limbeck.losses.sparse import SparseTargets
from limbeck.store.key import Header, id_bytes
from limbeck.store.sampling import (
    log_probabilities,
    most_probable,
    probabilities,
    systematic_sample,
    tail_of,
)

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
IDS = {1: torch.uint8, 2: torch.uint16, 4: torch.int32}
WEIGHT_SCALE = 2.0**15
LEAST_LOG_WEIGHT = -20.0
"""Weights below e^-20, about 2^-29, have fewer bits and are compared as if they were this."""
UNIFORM_BITS = 36
"""Of a uniform number; few enough that float64 adds the teeth of a comb to it exactly."""
AT_A_TIME = 1 << 20
"""Logits of which classes are chosen at a time, so that what is computed from them stays small."""
FALSE_ALARM = 1e-9


def encoded(logits: Tensor, header: Header, number: Tensor) -> Tensor:
    """The bytes of answers.

    Args:
        logits: finite float32 ``[B, C]`` or ``[B, T, C]``.
        header: of their store.
        number: of the row and view of each, int64 ``[B]``; with the samples it gives the random
            numbers of a draw.

    Returns:
        uint8 ``[B, bytes]`` on the device of ``logits``.

    Raises:
        TeacherError: the dtype of dense logits cannot hold them.
    """
    if header.kind == "dense":
        return _dense(logits, header.dtype).view(torch.uint8).flatten(1)
    position = torch.arange(header.positions, device=logits.device)
    record = (number.to(logits.device)[:, None] * header.positions + position).flatten()
    size = max(1, AT_A_TIME // header.classes)
    parts = zip(logits.reshape(-1, header.classes).split(size), record.split(size), strict=True)
    return torch.cat([_sparse(part, header, at) for part, at in parts]).view(len(number), -1)


def _dense(logits: Tensor, dtype: str) -> Tensor:
    kept = logits.to(DTYPES[dtype])
    if not bool(torch.isfinite(kept).all()):
        raise TeacherError(
            f"The teacher's logits reach {float(logits.abs().max()):.4g}, more than {dtype} can "
            "hold "
            f"({torch.finfo(DTYPES[dtype]).max:.4g}). Keep them with store.dtype=float32."
        )
    return kept


def _sparse(logits: Tensor, header: Header, record: Tensor) -> Tensor:
    """Records uint8 ``[R, bytes]`` of logits ``[R, C]``."""
    if header.temperature is None:
        ids, log_p, tail = most_probable(logits, header.k)
        numbers = torch.cat([log_p, tail], -1)
    else:
        p = probabilities(logits, header.temperature)
        ids, weights = systematic_sample(p, header.k, uniform(header, record))
        numbers = weights * WEIGHT_SCALE
    chosen = ids.to(IDS[id_bytes(header.classes)])
    return torch.cat([numbers.half().view(torch.uint8), chosen.view(torch.uint8)], -1)


def uniform(header: Header, record: Tensor) -> Tensor:
    """A number for each record, float64, uniform strictly between 0 and 1: a pure function of
    samples and record.
    """
    bits = replayable_bits(header.seed, record) >> (64 - UNIFORM_BITS)
    return ((bits & ((1 << UNIFORM_BITS) - 1)).double() + 0.5) * 2.0**-UNIFORM_BITS


def decoded(records: Tensor, header: Header) -> Tensor | SparseTargets:
    """The answers in records.

    Args:
        records: logits ``[..., C]`` of a dense store, or uint8 ``[..., bytes]``.
        header: of their store.

    Returns:
        float32 logits, or classes with their log-probabilities or log-weights; weights sum to 1.
    """
    if header.kind == "dense":
        return upcast(records)
    at = records.shape[-1] - header.k * id_bytes(header.classes)
    numbers = _as(torch.float16, records[..., :at]).float()
    ids = _as(IDS[id_bytes(header.classes)], records[..., at:]).long()
    if header.temperature is None:
        return SparseTargets(
            ids, numbers[..., : header.k], numbers[..., header.k :], header.classes
        )
    return SparseTargets(ids, (numbers / numbers.sum(-1, keepdim=True)).log(), None, header.classes)


def _as(dtype: torch.dtype, part: Tensor) -> Tensor:
    """Bytes as numbers, copied to where these may begin."""
    return part.clone(memory_format=torch.contiguous_format).view(dtype)


def difference(records: Tensor, logits: Tensor, header: Header) -> tuple[Tensor, float]:
    """How far stored answers lie from logits.

    Args:
        records: as :func:`decoded` reads them.
        logits: float32 ``[B, C]`` or ``[B, T, C]``.
        header: of the store.

    Returns:
        By how much each number of a record is off (its leading dimensions, then one), and the
        largest of the numbers
        that are compared: logits, or log-probabilities in nats. Of a sampled class that was not
        certain the probability is known to be at most its weight, and only what is more counts.
    """
    stored = decoded(records, header)
    if isinstance(stored, Tensor):
        return (stored - logits).abs(), float(logits.abs().amax())
    log_p = log_probabilities(logits, header.temperature or 1.0)
    now, largest = log_p.gather(-1, stored.ids), max(1.0, float(log_p.abs().amax()))
    if stored.tail is not None:
        now = torch.cat([now, tail_of(log_p, stored.ids)], -1)
        return (torch.cat([stored.log_p, stored.tail], -1) - now).abs(), largest
    weight = stored.log_p
    least = weight.where(weight > float("-inf"), 0.0).amin(-1, keepdim=True)
    more = now.clamp(min=LEAST_LOG_WEIGHT) - weight.clamp(min=LEAST_LOG_WEIGHT)
    certain = weight > least + 2.0**-9
    return torch.where(certain, more.abs(), more.clamp(min=0)), largest


def surprise(records: Tensor, logits: Tensor, header: Header) -> float:
    r"""How much less probable sampled classes are than chance allows, in nats a record; at most 0
    if they fit.

    The weighted mean of any function of the sampled classes has the teacher's mean of it as its
    expectation, and at most its variance. For :math:`\log p`, held to 10 nats, a sound store stays
    below Bernstein's bound but once in a billion times.

    Args:
        records: of different rows or views, as :func:`decoded` reads them.
        logits: float32 ``[B, C]`` or ``[B, T, C]``.
        header: of the store.

    References:
        Bernstein, "On certain modifications of Chebyshev's inequality", 1937; Boucheron, Lugosi and
        Massart, "Concentration inequalities", 2013, section 2.8.
    """
    stored = decoded(records, header)
    if header.temperature is None or isinstance(stored, Tensor):
        return 0.0
    log_p, deepest, odds = (
        log_probabilities(logits, header.temperature),
        10.0,
        -math.log(FALSE_ALARM),
    )
    p, told = log_p.exp(), log_p.clamp(min=-deepest)
    mean = (p * told).sum(-1)
    variance = float((p * (told - mean[..., None]).square()).sum(dtype=torch.float64))
    gap = float(
        (mean - (stored.log_p.exp() * told.gather(-1, stored.ids)).sum(-1)).sum(dtype=torch.float64)
    )
    bound = odds * deepest / 3 + math.sqrt((odds * deepest / 3) ** 2 + 2 * odds * variance)
    return (gap - bound) / mean.numel()
