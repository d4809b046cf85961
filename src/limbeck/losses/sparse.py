"""Soft losses of a teacher that is known by some of its classes: its most probable ones, or a
sample of them.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck.losses.divergences import upcast


class SparseTargets(NamedTuple):
    """A teacher's distribution over V classes, at T = 1, by K of them at each position.

    Attributes:
        ids: the classes, int64 ``[..., B, K]``, all different within a position.
        log_p: their log-probabilities in nats, ``[..., B, K]``; without a tail log-weights whose
            exponentials sum to 1.
        tail: of all other classes the log of their whole probability and the mean of their
            log-probabilities, ``[..., B, 2]``; None for a sample, drawn at the temperature of the
            loss.
        classes: V.
    """

    ids: Tensor
    log_p: Tensor
    tail: Tensor | None
    classes: int

    def map(self, fn: Callable[[Tensor], Tensor]) -> "SparseTargets":
        """The targets with ``fn`` applied to each tensor; it should leave the last dimension as it
        is.
        """
        return SparseTargets(
            fn(self.ids), fn(self.log_p), None if self.tail is None else fn(self.tail), self.classes
        )


def sparse_kl(
    student: Tensor, targets: SparseTargets, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Kullback-Leibler divergence of the softened student from the softened teacher, as far as it
    is known.

    .. math:: \sum_{c \in K} p_c (\log p_c - \log q_c) + p_r (\log p_r - \log q_r)

    With a tail it is over K + 1 parts, the K classes and the rest r as one: at most the KL over all
    classes. At T = 1 its gradient is that of the KL over all classes in the logits of the K, and in
    the rest's summed; how the rest is shared out among its classes is left to the labels. At
    another T the rest's probability is that of
    :func:`softened`. Of a sample (no tail) there is no rest, and p are its weights whatever T.

    Args:
        student: logits z, ``[..., B, C]``.
        targets: the teacher's, broadcasting against ``student`` in all but the last dimension.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]`` and is the same
            for all classes.

    Returns:
        Nats, ``[..., B]``; differentiable once, in ``student``.
    """
    return _SparseLoss.apply(
        student,
        targets.ids,
        softened(targets, temperature),
        temperature,
        targets.tail is None,
        True,
    )


def sparse_cross_entropy(
    student: Tensor, targets: SparseTargets, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Cross-entropy of the softened teacher, as far as it is known, under the softened student.

    .. math:: -\sum_{c \in K} p_c \log q_c - p_r \log q_r

    The gradient is that of :func:`sparse_kl`; for a sample whose weights are shares of draws from
    the teacher it is on average that of the dense cross-entropy.

    Args:
        student: logits z, ``[..., B, C]``.
        targets: the teacher's, broadcasting against ``student`` in all but the last dimension.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]`` and is the same
            for all classes.

    Returns:
        Nats, ``[..., B]``; differentiable once, in ``student``.
    """
    return _SparseLoss.apply(
        student,
        targets.ids,
        softened(targets, temperature),
        temperature,
        targets.tail is None,
        False,
    )


SPARSE_LOSSES: dict[str, Callable[..., Tensor]] = {
    "kl": sparse_kl,
    "cross_entropy": sparse_cross_entropy,
}
"""The soft losses that some of the teacher's classes suffice for."""


def softened(targets: SparseTargets, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Log-probabilities at T of the K classes and, after them, of all others together.

    The softened probability of the others is known up to the normalisation if

    .. math:: f(b) = \log \sum_{c \in rest} \exp(b \log p_c), \quad b = 1 / T

    is. Three things of it are: f(0) = log(V - K), its slope there, which is the mean of log p, and
    f(1), the log of the rest's probability. The quadratic through them, whose curvature is at least
    0 as that of f, is exact for normally distributed log-probabilities. Where it leaves the side of
    b f(1) on which every f is (above for T > 1, below for T < 1), that is taken.

    Args:
        targets: the teacher's; those without a tail are as they are, for they were drawn at T.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, 1]``.

    Returns:
        ``[..., B, K + 1]``, or ``[..., B, K]`` without a tail.
    """
    log_p = upcast(targets.log_p)
    if targets.tail is None:
        return log_p
    others = targets.classes - log_p.shape[-1]
    b, log_n = (
        1 / torch.as_tensor(temperature, dtype=log_p.dtype, device=log_p.device),
        math.log(max(others, 1)),
    )
    mass, mean = upcast(targets.tail).split(1, -1)
    if not others:
        mass = mean = torch.full_like(mass, float("-inf"))
    even = mass - log_n
    mean = torch.where(
        mean > float("-inf"), mean, even
    )  # -inf where the teacher excludes one of them
    bend = torch.where(even > mean, even - mean, 0.0)
    rest = log_n + b * mean + b.square() * bend
    rest = torch.where(b > 1, torch.minimum(rest, b * mass), torch.maximum(rest, b * mass))
    known = b * log_p
    return _normalised(torch.cat([known, rest.expand(*known.shape[:-1], 1)], -1))


def _normalised(scores: Tensor) -> Tensor:
    """``log_softmax`` over the last dimension, faster where that is short."""
    scores = scores - scores.amax(-1, keepdim=True)
    return scores - scores.exp().sum(-1, keepdim=True).log()


class _SparseLoss(torch.autograd.Function):
    """``sum p (log p - log q)`` over parts, or without the ``log p``, by one pass of exponentials
    for both passes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        ids: Tensor,
        log_p: Tensor,
        temperature: float | Tensor,
        sampled: bool,
        divergence: bool,
    ) -> Tensor:
        """Values ``[..., B]``; ``log_p`` is ``[..., B, K]`` of a sample, else ``[..., B, K + 1]``."""
        ids = ids.expand(*student.shape[:-1], ids.shape[-1])
        scaled = upcast(student) / temperature
        log_p = log_p.to(scaled.dtype)
        picked = scaled.gather(-1, ids)
        if not sampled:
            scaled.scatter_(
                -1, ids, float("-inf")
            )  # what is left is the rest, whose mass is then never a difference
        top = scaled.amax(-1, keepdim=True).clamp(min=torch.finfo(scaled.dtype).min)
        weights = scaled.sub_(top).exp_()
        total = weights.sum(-1, keepdim=True)
        log_total = top + total.log()
        p = log_p.exp()
        if sampled:
            log_q, own, share = picked - log_total, -p, p.sum(-1, keepdim=True)
        else:
            log_q = _normalised(torch.cat([picked, log_total], -1))
            own, share = (log_q.exp() - p).split([ids.shape[-1], 1], -1)
        ctx.save_for_backward(weights, ids, own, share / total.clamp(min=1))
        ctx.temperature, ctx.dtype = temperature, student.dtype
        return torch.where(p > 0, p * (log_p - log_q if divergence else -log_q), 0.0).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient in ``student``."""
        weights, ids, own, share = ctx.saved_tensors
        scale = grad[..., None] / ctx.temperature
        gradient = weights * (share * scale)
        gradient.scatter_add_(-1, ids, own * scale)
        return gradient.to(ctx.dtype), None, None, None, None, None
