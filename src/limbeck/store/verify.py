"""Comparison of stored answers with those that the teacher gives now."""

import secrets
from pathlib import Path

import torch
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.losses.sparse import SparseTargets
from limbeck.store.answers import TeacherPass
from limbeck.store.codec import decode, draw, record_numbers
from limbeck.store.key import Header, advice
from limbeck.store.sampling import log_probabilities, tail_of

COMPARED = 64
"""Number of inputs whose answers are recomputed at the start of a run; fewer where these have many
logits.
"""
ROUNDING = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 0.0}
COMPUTING = {"32-true": 5e-3, "64-true": 5e-3, "16-mixed": 2e-2, "16-true": 2e-2}
"""How far two computations of the same logits may differ, as a share of the largest: other batches,
other devices, TF32.
"""
COMPUTING_COARSELY = 1e-1
DRAW_SHARE = 0.2
"""Tolerance for the distance between two draws, as a share of that for logits: what differs in the
logits of single classes nearly cancels in the sums that a draw depends on.
"""
LEAST_LOG_WEIGHT = -20.0
"""Weights below e^-20, about 2^-29, have few bits and are compared as if they were this."""


def verify(teacher_pass: TeacherPass, records: Tensor, header: Header, root: Path) -> None:
    """Ask the teacher again about some random inputs and compare its answers with the stored ones.

    Args:
        teacher_pass: Pass that computes the answers, its inputs on the device.
        records: Stored answers, ``[N, V, ...]``.
        header: Header of the store.
        root: Folder of all stores.

    Raises:
        TeacherError: If the answers differ.
    """
    generator = torch.Generator().manual_seed(secrets.randbits(63))
    most = min(COMPARED, teacher_pass.batch_size)
    number = torch.randint(teacher_pass.count, (most,), generator=generator)
    logits = teacher_pass.compute(number)
    stored = decode(records.flatten(0, 1)[number].to(logits.device), header)
    deviation, largest = deviations(stored, logits, header.temperature or 1.0)
    computing = COMPUTING.get(str(teacher_pass.precision.precision), COMPUTING_COARSELY)
    tolerance = (ROUNDING[header.dtype] + computing) * max(largest, 1e-6)
    if not bool((deviation <= tolerance).all()):
        worst = int(deviation.flatten(1).amax(-1).argmax())
        row, view = divmod(int(number[worst]), header.views)
        quantity = "logit" if header.kind == "dense" else "log-probability"
        difference = (
            f"For training sample {int(teacher_pass.rows[row])} in view {view} a {quantity} "
            f"differs by {float(deviation.max()):.4g} (largest {quantity} {largest:.4g})"
        )
    elif isinstance(stored, SparseTargets) and header.kind == "sampled":
        if draw_distance(stored, logits, header, number) <= DRAW_SHARE * tolerance:
            return
        difference = "A new draw with the same random numbers takes other classes"
    else:
        return
    raise TeacherError(
        f"{root / header.key}: the stored answers are not what the teacher answers now. "
        f"{difference}. {advice(root / header.key)} If it happens again, the teacher's answers "
        "change from call to call: use store=off."
    )


def deviations(
    stored: Tensor | SparseTargets, logits: Tensor, temperature: float
) -> tuple[Tensor, float]:
    """How far stored answers are from logits.

    A class that was drawn without certainty has a weight of at least its probability; there only
    the excess of the probability counts.

    Args:
        stored: Logits, or a part of the classes.
        logits: Logits of the teacher now, float32 ``[B, C]`` or ``[B, T, C]``.
        temperature: Temperature of the draws.

    Returns:
        The deviation of each number of a record, ``[B, ..., numbers]``, and the largest of the
        numbers that are compared: logits, or log-probabilities in nats.
    """
    if isinstance(stored, Tensor):
        return (stored - logits).abs(), float(logits.abs().amax())
    log_p = log_probabilities(logits, temperature)
    largest = max(1.0, float(log_p.abs().amax()))
    now = log_p.gather(-1, stored.ids)
    if stored.tail is not None:
        now = torch.cat([now, tail_of(log_p, stored.ids)], -1)
        return (torch.cat([stored.log_p, stored.tail], -1) - now).abs(), largest
    weight = stored.log_p
    least = weight.where(weight > float("-inf"), 0.0).amin(-1, keepdim=True)
    certain = weight > least + 2.0**-9
    excess = now.clamp(min=LEAST_LOG_WEIGHT) - weight.clamp(min=LEAST_LOG_WEIGHT)
    return torch.where(certain, excess.abs(), excess.clamp(min=0)), largest


def draw_distance(stored: SparseTargets, logits: Tensor, header: Header, number: Tensor) -> float:
    r"""How far the stored classes are from a new draw with the same random numbers.

    Classes lie side by side on a line, each as long as it is probable. The same random numbers take
    the same places on it, so a draw from nearly the same logits takes the same classes or
    neighbours of them. The distance is in units of :math:`\sqrt{\sum_c p_c^2}`, in which it grows
    with the difference of the logits (in nats) whatever the number of classes is.

    Args:
        stored: Drawn classes, ``[B, K]`` or ``[B, T, K]``.
        logits: Logits of the teacher now, float32 ``[B, C]`` or ``[B, T, C]``.
        header: Header of the store.
        number: Number of each answer, int64 ``[B]``.

    Returns:
        The mean over all drawn classes.
    """
    rows = logits.reshape(-1, header.classes)
    ids, _ = draw(rows, header, record_numbers(header, number.to(rows.device)))
    p = torch.softmax(rows / (header.temperature or 1.0), -1, dtype=torch.float64)
    middle = p.cumsum(-1) - p / 2
    before = middle.gather(-1, stored.ids.reshape(ids.shape)).sort(-1).values
    now = middle.gather(-1, ids).sort(-1).values
    unit = p.square().sum(-1, keepdim=True).sqrt()
    return float(((before - now).abs() / unit).mean())
