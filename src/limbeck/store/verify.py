"""Whether stored answers are still what the teacher answers."""

import secrets
from pathlib import Path

import torch
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.store.answers import Answers
from limbeck.store.codec import difference, surprise
from limbeck.store.key import Header, advice

COMPARED = 64
"""Inputs whose answers are recomputed and compared at the start of a run; fewer where these are
many logits.
"""
ROUNDING = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 0.0}
COMPUTING = {"32-true": 5e-3, "64-true": 5e-3, "16-mixed": 2e-2, "16-true": 2e-2}
"""How far two computations of the same logits may lie apart, as a share of the largest: batches,
devices, TF32.
"""
COMPUTING_COARSELY = 1e-1


def compare(answers: Answers, records: Tensor, header: Header, root: Path) -> None:
    """Ask the teacher for some random answers again.

    Args:
        answers: to recompute, their inputs on the device.
        records: the stored ones, ``[N, V, ...]``.
        header: of their store.
        root: the folder of all stores.

    Raises:
        TeacherError: it does not give what is stored.
    """
    draw = torch.Generator().manual_seed(secrets.randbits(63))
    number = torch.randint(answers.count, (min(COMPARED, answers.batch()),), generator=draw)
    if header.kind == "sampled":
        number = number.unique()  # only different records are independent of each other
    now = answers.compute(number)
    stored = records.flatten(0, 1)[number].to(now.device)
    off, largest = difference(stored, now, header)
    allowed = (ROUNDING[header.dtype] + COMPUTING.get(answers.precision, COMPUTING_COARSELY)) * max(
        largest, 1e-6
    )
    if not bool((off <= allowed).all()):
        at = int(off.flatten(1).amax(-1).argmax())
        what, row = (
            "logit" if header.kind == "dense" else "log-probability",
            int(number[at]) // header.views,
        )
        found = (
            f"For training sample {int(answers.rows[row])} in view "
            f"{int(number[at]) % header.views} a {what} differs "
            f"by {float(off.max()):.4g} (largest {what} {largest:.4g})"
        )
    elif surprise(stored, now, header) > allowed:
        found = "The classes that were drawn are less probable than chance allows"
    else:
        return
    raise TeacherError(
        f"{root / header.key}: the stored answers are not what the teacher answers now. {found}. "
        f"{advice(root / header.key)} If it happens again, the teacher's answers change from time "
        "to time: use "
        "store=off."
    )
