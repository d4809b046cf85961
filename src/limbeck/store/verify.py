"""Comparison of stored answers with the teacher's current answers."""

import secrets
from pathlib import Path

import torch
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.losses.sparse import SparseTargets
from limbeck.store.answers import TeacherPass
from limbeck.store.codec import decode, draw, record_numbers
from limbeck.store.key import Header, removal_advice
from limbeck.store.sampling import log_probabilities, tail_of

NUM_INPUTS = 64
"""Number of inputs whose answers are recomputed at the start of a run; fewer if they have many
logits.
"""
ROUNDING_TOLERANCES = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 0.0}
TOLERANCES = {"32-true": 5e-3, "64-true": 5e-3, "16-mixed": 2e-2, "16-true": 2e-2}
"""Allowed difference between two computations of the same logits (other batches, other devices,
TF32), as a share of the largest logit, by precision.
"""
DEFAULT_TOLERANCE = 1e-1
DRAW_SHARE = 0.2
"""Tolerance for the distance between two draws, as a share of the tolerance for logits. A draw
depends on sums over classes, in which the differences of single logits nearly cancel.
"""
MIN_LOG_WEIGHT = -20.0
"""Weights below e^-20, about 2^-29, have few bits and are clamped to this value."""


def verify(teacher_pass: TeacherPass, records: Tensor, header: Header, root: Path) -> None:
    """Recompute the answers for some random inputs and compare them with the stored ones.

    Args:
        teacher_pass: Pass that computes the answers, its inputs on the device.
        records: Stored answers, ``[N, V, ...]``.
        header: Header of the store.
        root: Folder of all stores.

    Raises:
        TeacherError: If the answers differ.
    """
    generator = torch.Generator().manual_seed(secrets.randbits(63))
    count = min(NUM_INPUTS, teacher_pass.batch_size)
    number = torch.randint(teacher_pass.count, (count,), generator=generator)
    logits = teacher_pass.compute(number)
    stored = decode(records.flatten(0, 1)[number].to(logits.device), header)
    deviation, largest = deviations(stored, logits, header.temperature or 1.0)
    relative = TOLERANCES.get(str(teacher_pass.precision.precision), DEFAULT_TOLERANCE)
    relative += ROUNDING_TOLERANCES[header.dtype]
    tolerance = relative * max(largest, 1e-6)
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
        difference = "A new draw with the same random numbers selects other classes"
    else:
        return
    raise TeacherError(
        f"{root / header.key}: the stored answers differ from the teacher's current ones. "
        f"{difference}. {removal_advice(root / header.key)} If it happens again, the teacher's "
        "answers change from call to call: use store=off."
    )


def deviations(
    stored: Tensor | SparseTargets, logits: Tensor, temperature: float
) -> tuple[Tensor, float]:
    """Deviation of stored answers from logits.

    A class that was drawn with a probability below 1 has a weight of at least its probability, so
    only a probability above the weight counts.

    Args:
        stored: Logits, or a part of the classes.
        logits: Logits of the teacher now, float32 ``[B, C]`` or ``[B, T, C]``.
        temperature: Temperature of the draws.

    Returns:
        The deviation of each number, ``[B, ..., numbers]``, and the largest absolute value of the
        current numbers: logits, or log-probabilities in nats.
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
    excess = now.clamp(min=MIN_LOG_WEIGHT) - weight.clamp(min=MIN_LOG_WEIGHT)
    return torch.where(certain, excess.abs(), excess.clamp(min=0)), largest


def draw_distance(stored: SparseTargets, logits: Tensor, header: Header, number: Tensor) -> float:
    r"""Distance of the stored classes from a new draw with the same random numbers.

    Classes are placed on a line as intervals of the length of their probability. The same random
    numbers select the same points on it, so a draw from nearly the same logits selects the same
    classes or their neighbours. The distance is in units of :math:`\sqrt{\sum_c p_c^2}`, in
    which it grows with the difference of the logits (in nats) for any number of classes.

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
