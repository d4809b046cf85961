"""Losses between the tokens of a text as layers of student and teacher relate them."""

import torch
from torch import Tensor

from limbeck.losses.divergences import upcast

OUT_OF_REACH = -1e4
"""Score of padding, whose softmax is 0."""
SMALLEST_WEIGHT = 1e-30
"""Attention weights below count as 0: the gradient of their logarithm would overflow."""


def relation_loss(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, *, heads: int = 1
) -> Tensor:
    r"""Compute the divergence of the relations between tokens in student and teacher.

    .. math:: \frac{1}{A L} \sum_{a=1}^{A} \sum_{t=1}^{L} \mathrm{KL}(R^T_{a,t} \Vert R^S_{a,t}),
        \quad R_a = \mathrm{softmax}\!\left(\frac{X_a X_a^\top}{\sqrt{d}}\right)

    :math:`X_a` is a part of the features of all tokens, of width d. As layers take the linear ones
    of the queries, keys and values of an attention (MiniLM); their widths may differ.

    Args:
        student: Layer ``[B, L, D]``.
        teacher: Layer ``[B, L, D']``.
        mask: Whether a position has a token, ``[B, L]``; None for all.
        heads: Number of parts A, a divisor of D and D'.

    Returns:
        ``[B]``.

    References:
        Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation", 2021, equation 5.
    """
    log_s, log_t = _log_relations(student, heads, mask), _log_relations(teacher, heads, mask)
    divergence = (log_t.exp() * (log_t - log_s)).sum(-1).mean(1)  # [B, L]
    return token_mean(divergence, mask)


def _log_relations(features: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Logarithm of the relations ``[B, A, L, L]`` of features ``[B, L, D]``."""
    parts = upcast(features).unflatten(-1, (heads, -1)).transpose(1, 2)
    scores = parts @ parts.mT / parts.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask.bool()[:, None, None], OUT_OF_REACH)
    return torch.log_softmax(scores, -1)


def attention_scores_loss(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Compute the mean squared distance between the attention scores of student and teacher.

    .. math:: \frac{1}{A L^2} \sum_{a=1}^{A} \sum_{t=1}^{L} \sum_{u=1}^{L}
        (S^S_{a,t,u} - S^T_{a,t,u})^2

    The scores S of a token t are the logarithms of its attention weights, less their mean over the
    tokens u. These are the scaled products of query and keys, less their mean, which the softmax
    of the attention does not see and TinyBERT does not subtract. Weights of 0, such as those that
    dropout sets to 0 in training, are left out.

    Args:
        student: Attention weights ``[B, A, L, L]``, after the softmax.
        teacher: Attention weights of the same shape.
        mask: Whether a position has a token, ``[B, L]``; None for all.

    Returns:
        ``[B]``.

    References:
        Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020,
        equation 7.
    """
    student, teacher = upcast(student), upcast(teacher)
    is_used = (student > SMALLEST_WEIGHT) & (teacher > SMALLEST_WEIGHT)
    if mask is not None:
        is_used = is_used & mask.bool()[:, None, None]
    difference = _log_where(is_used, student) - _log_where(is_used, teacher)
    count = is_used.sum(-1, keepdim=True).clamp(min=1)
    centred = difference - difference.sum(-1, keepdim=True) / count
    squares = torch.where(is_used, centred, 0).square().sum(-1) / count.squeeze(-1)
    return token_mean(squares.mean(1), mask)


def _log_where(is_used: Tensor, weights: Tensor) -> Tensor:
    """Logarithm of the weights to use; 0 for others."""
    return torch.where(is_used, weights, 1).log()


def token_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the tokens of each sample, ``[B]``, of values ``[B, L]``."""
    if mask is None:
        return values.mean(1)
    mask = mask.to(values.dtype)
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)
