"""Soft losses against sparse targets: K of a teacher's classes at each position.

The K classes are the most probable ones, or a random sample.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, overload

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck.losses.divergences import upcast


class SparseTargets(NamedTuple):
    """A teacher's distribution over V classes at T = 1, reduced to K classes at each position.

    Attributes:
        ids: Classes, int64 ``[..., B, K]``, all different within a position.
        log_p: Log-probabilities of the classes in nats, ``[..., B, K]``. Without a tail,
            log-weights whose exponentials sum to 1.
        tail: Log of the total probability of all other classes, and the mean of their
            log-probabilities, ``[..., B, 2]``; None for a sample, which is drawn at the temperature
            of the loss.
        classes: Number of classes V.
    """

    ids: Tensor
    log_p: Tensor
    tail: Tensor | None
    classes: int

    def map(self, fn: Callable[[Tensor], Tensor]) -> "SparseTargets":
        """Apply ``fn``, which must not change the last dimension, to each tensor."""
        tail = None if self.tail is None else fn(self.tail)
        return SparseTargets(fn(self.ids), fn(self.log_p), tail, self.classes)


Answers: TypeAlias = Tensor | SparseTargets
"""A teacher's outputs, or sparse targets."""


@overload
def map_answers(answers: Answers, fn: Callable[[Tensor], Tensor]) -> Answers: ...
@overload
def map_answers(answers: None, fn: Callable[[Tensor], Tensor]) -> None: ...
def map_answers(answers: Answers | None, fn: Callable[[Tensor], Tensor]) -> Answers | None:
    """Apply ``fn`` to each tensor of a teacher's answers."""
    if answers is None:
        return None
    return answers.map(fn) if isinstance(answers, SparseTargets) else fn(answers)


def topk_refusal(temperature: float) -> str:
    """Return the message that targets with a tail cannot be used at a temperature below 1."""
    return (
        f"objective.temperature={temperature:g} is below 1, where the most probable classes do not "
        "determine the probability of all others. Use a temperature of at least 1, or another kind "
        "of store: store.kind=dense or sampled."
    )


def sparse_kl(
    student: Tensor, targets: SparseTargets, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Compute the Kullback-Leibler divergence of the student from sparse targets.

    .. math:: \sum_{c \in K} p_c (\log p_c - \log q_c) + p_r (\log p_r - \log q_r)

    With a tail, the sum has K + 1 terms: the K classes, and the rest r as one class. It is at most
    the KL over all classes. At T = 1 its gradient equals the gradient of the KL over all classes,
    for the logits of the K classes and for the sum over the rest. How probability is distributed
    within the rest is learned from labels only. At another T, :func:`soften` estimates the
    probability of the rest, well for T > 1 and badly for T < 1, which objectives refuse. A sample
    (no tail) has no rest, and p are its weights at any T.

    Args:
        student: Logits z, ``[..., B, C]``.
        targets: Targets, broadcastable to ``student`` in all but the last dimension.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]`` and is equal
            for all classes.

    Returns:
        Nats, ``[..., B]``; differentiable once, in ``student``.
    """
    return _sparse_loss(student, targets, temperature, subtract_entropy=True)


def sparse_cross_entropy(
    student: Tensor, targets: SparseTargets, *, temperature: float | Tensor = 1.0
) -> Tensor:
    r"""Compute the cross-entropy of the student under sparse targets.

    .. math:: -\sum_{c \in K} p_c \log q_c - p_r \log q_r

    The gradient equals the gradient of :func:`sparse_kl`. For sampled targets, its expectation is
    the gradient of the dense cross-entropy.

    Args:
        student: Logits z, ``[..., B, C]``.
        targets: Targets, broadcastable to ``student`` in all but the last dimension.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, C]`` and is equal
            for all classes.

    Returns:
        Nats, ``[..., B]``; differentiable once, in ``student``.
    """
    return _sparse_loss(student, targets, temperature, subtract_entropy=False)


def _sparse_loss(
    student: Tensor,
    targets: SparseTargets,
    temperature: float | Tensor,
    *,
    subtract_entropy: bool,
) -> Tensor:
    log_p = soften(targets, temperature)
    is_sample = targets.tail is None
    return _SparseLoss.apply(student, targets.ids, log_p, temperature, is_sample, subtract_entropy)


def soften(targets: SparseTargets, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Compute log-probabilities at T of the K classes, followed by all other classes together.

    The softened probability of the others follows, up to normalisation, from

    .. math:: f(b) = \log \sum_{c \in rest} \exp(b \log p_c), \quad b = 1 / T

    Three values of f are known: f(0) = log(V - K); the slope at 0, which is the mean of log p; and
    f(1), the log of the probability of the rest. f is approximated by the quadratic through them,
    with a curvature of at least 0. The approximation is exact for normally distributed
    log-probabilities; at T < 1, which depends on the largest of them, it is far too large if the
    most probable classes are not among the rest. f is at least b f(1) for T > 1 and at most b f(1)
    for T < 1; the quadratic is clamped to this bound.

    Args:
        targets: Targets. Without a tail they are not changed, since they were drawn at T.
        temperature: T, a number or a tensor that broadcasts against ``[..., B, 1]``.

    Returns:
        ``[..., B, K + 1]``, or ``[..., B, K]`` without a tail.
    """
    log_p = upcast(targets.log_p)
    if targets.tail is None:
        return log_p
    others = targets.classes - log_p.shape[-1]
    log_n = math.log(max(others, 1))
    b = 1 / torch.as_tensor(temperature, dtype=log_p.dtype, device=log_p.device)
    mass, mean = upcast(targets.tail).split(1, -1)
    if not others:
        mass = mean = torch.full_like(mass, float("-inf"))
    uniform = mass - log_n
    # the mean is -inf if the teacher excludes one of the classes
    mean = torch.where(mean == float("-inf"), uniform, mean)
    curvature = torch.where(uniform > mean, uniform - mean, 0.0)
    rest = log_n + b * mean + b.square() * curvature
    rest = torch.where(b > 1, torch.minimum(rest, b * mass), torch.maximum(rest, b * mass))
    stored = b * log_p
    return _short_log_softmax(torch.cat([stored, rest.expand(*stored.shape[:-1], 1)], -1))


def _short_log_softmax(scores: Tensor) -> Tensor:
    """Compute ``log_softmax`` over the last dimension, faster if the dimension is short."""
    scores = scores - scores.amax(-1, keepdim=True)
    return scores - scores.exp().sum(-1, keepdim=True).log()


class _SparseLoss(torch.autograd.Function):
    """``sum p (log p - log q)``, or the same without ``log p``.

    The exponentials of all logits are computed once, for the forward and the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        ids: Tensor,
        log_p: Tensor,
        temperature: float | Tensor,
        is_sample: bool,
        subtract_entropy: bool,
    ) -> Tensor:
        """Compute values ``[..., B]``.

        ``log_p`` is ``[..., B, K]`` for a sample, otherwise ``[..., B, K + 1]``.
        """
        ids = ids.expand(*student.shape[:-1], ids.shape[-1])
        scaled = upcast(student) / temperature
        log_p = log_p.to(scaled.dtype)
        selected = scaled.gather(-1, ids)
        if not is_sample:
            # only the rest remains, so that its mass is not computed as a difference
            scaled.scatter_(-1, ids, float("-inf"))
        top = scaled.amax(-1, keepdim=True).clamp(min=torch.finfo(scaled.dtype).min)
        weights = scaled.sub_(top).exp_()
        total = weights.sum(-1, keepdim=True)
        log_total = top + total.log()
        p = log_p.exp()
        if is_sample:
            log_q = selected - log_total
            own, share = -p, p.sum(-1, keepdim=True)
        else:
            log_q = _short_log_softmax(torch.cat([selected, log_total], -1))
            own, share = (log_q.exp() - p).split([ids.shape[-1], 1], -1)
        ctx.save_for_backward(weights, ids, own, share / total.clamp(min=1))
        ctx.temperature, ctx.dtype = temperature, student.dtype
        nats = log_p - log_q if subtract_entropy else -log_q
        return torch.where(p == 0, 0.0, p * nats).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradient in ``student``."""
        weights, ids, own, share = ctx.saved_tensors
        scale = grad[..., None] / ctx.temperature
        gradient = weights * (share * scale)
        gradient.scatter_add_(-1, ids, own * scale)
        return gradient.to(ctx.dtype), None, None, None, None, None
