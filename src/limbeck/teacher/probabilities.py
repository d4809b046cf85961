"""Logits of a teacher that answers with probabilities."""

import torch
from torch import Tensor

from limbeck._base.errors import TeacherError

FLOOR = 1e-7
"""Smallest probability whose logarithm is used; smaller ones, such as 0, count as this."""
SUM_TOLERANCE = 1e-2
"""Difference from 1 that the probabilities of a sample may sum to, as in half precision."""


def logits_of_probabilities(probabilities: Tensor, name: str) -> Tensor:
    """Return the logarithms of probabilities, which are logits: their softmax is the same.

    Args:
        probabilities: Probabilities ``[..., C]``.
        name: Name of the teacher, for messages.

    Raises:
        TeacherError: If a value is below 0 or NaN, or a row does not sum to 1.
    """
    p = probabilities.float()
    total = p.sum(-1)
    is_valid = ((total - 1).abs() <= SUM_TOLERANCE) & (p.amin(-1) >= -SUM_TOLERANCE)
    if not bool(is_valid.all()):
        row = int((~is_valid).flatten().nonzero()[0])
        values = ", ".join(f"{value:g}" for value in p.flatten(0, -2)[row][:5].tolist())
        raise TeacherError(
            f"{name} should answer with probabilities that sum to 1, but those of sample {row} of "
            f"a batch are {values}{', ...' if p.shape[-1] > 5 else ''} (sum "
            f"{float(total.flatten()[row]):g})."
        )
    return p.clamp(min=FLOOR).log()


def logits_of_sigmoid(p: Tensor) -> Tensor:
    """Return the logits of the outputs of a sigmoid, one or several per sample."""
    return torch.logit(p.float(), eps=FLOOR)


def two_logits(logit: Tensor) -> Tensor:
    """Return the logits ``[..., 2]`` of no and yes for the one logit ``[..., 1]`` of yes."""
    return torch.cat([torch.zeros_like(logit), logit], -1)
