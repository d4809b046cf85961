"""Scores of language models for every token of a split, and their metrics.

The logits of a text are too large to store, so each token is reduced to a few numbers.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck._base.signals import check_interrupt
from limbeck.evaluation.metrics import calibration_error, finite_or_none, top_class
from limbeck.models.output import logits_of
from limbeck.run.metrics import TextMetrics

TokenBatch = tuple[Tensor, Tensor, Tensor | None]
"""Inputs ``[B, T]``, labels ``[B, T]``, and the teacher's logits ``[B, T, V]`` or None."""
MAX_NATS = 700.0
"""NLL of a token whose probability is 0 or NaN, and the largest whose perplexity is finite."""


@dataclass(frozen=True)
class TokenScores:
    """Scores of a language model on a split of N blocks of T tokens.

    Attributes:
        nll: Negative log-likelihood of each token in nats, float32 ``[N, T]``; :data:`MAX_NATS`
            where it is not finite.
        right: Whether the most likely token is correct, bool ``[N, T]``.
        confidence: Probability of the most likely token, float32 ``[N, T]``.
        agrees: Whether the teacher's most likely token is the same, bool ``[N, T]``; None without a
            teacher.
        kl: KL divergence from the teacher at T = 1 in nats, float32 ``[N, T]``; None without a
            teacher.
    """

    nll: Tensor
    right: Tensor
    confidence: Tensor
    agrees: Tensor | None = None
    kl: Tensor | None = None


@torch.no_grad()
def score_tokens(batches: Iterable[TokenBatch], model: nn.Module | None = None) -> TokenScores:
    """Score a language model on a split.

    Args:
        batches: Batches of the split.
        model: Model with logits ``[B, T, V]``, set to eval mode; None to score the teacher's logits
            in the batches.

    Returns:
        The scores of all tokens, on the CPU.
    """
    device = torch.device("cpu")
    if model is not None:
        device = next((p.device for p in model.eval().parameters()), device)
    parts = []
    for x, y, teacher in batches:
        check_interrupt()
        logits = teacher if model is None else logits_of(model(x.to(device)), len(x), "model")
        assert logits is not None
        parts.append(score_batch(logits, y.to(logits.device), teacher))
    return concatenate_scores(parts)


def score_batch(logits: Tensor, labels: Tensor, teacher: Tensor | None) -> TokenScores:
    """Score the tokens of a batch.

    Args:
        logits: Logits ``[..., V]``.
        labels: Labels ``[...]``.
        teacher: Logits of the teacher ``[..., V]``, if there is one.
    """
    log_q = torch.log_softmax(logits.float(), -1)
    nll = -log_q.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    nll = torch.where(nll.isfinite(), nll, MAX_NATS)
    top = top_class(log_q)
    scores = TokenScores(nll.cpu(), (top == labels).cpu(), log_q.amax(-1).exp().cpu())
    if teacher is None:
        return scores
    log_p = torch.log_softmax(teacher.to(logits.device).float(), -1)
    p = log_p.exp()
    kl = torch.where(p == 0, 0.0, p * (log_p - log_q)).sum(-1)
    agrees = (top_class(log_p) == top) & (top >= 0)
    return TokenScores(scores.nll, scores.right, scores.confidence, agrees.cpu(), kl.cpu())


def concatenate_scores(parts: Sequence[TokenScores]) -> TokenScores:
    """Join the scores of several batches."""

    def column(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    has_teacher = parts[0].kl is not None
    return TokenScores(
        nll=column("nll"),
        right=column("right"),
        confidence=column("confidence"),
        agrees=column("agrees") if has_teacher else None,
        kl=column("kl") if has_teacher else None,
    )


def token_metrics(scores: TokenScores, size: int) -> TextMetrics:
    """Compute the metrics of one language model.

    Errors count tokens; ``nll`` and ``kl_to_teacher`` are in nats per token; the perplexity is
    ``exp(nll)``. Bits per byte, ``sum(nll) / (ln(2) * size)``, do not depend on the tokenizer.

    Args:
        scores: Scores of the model.
        size: Number of bytes of text that the labels of the split encode.
    """
    tokens = scores.nll.numel()
    wrong = tokens - int(scores.right.sum())
    nats = float(scores.nll.double().sum())
    confidence = scores.confidence.flatten().double()
    kl = None if scores.kl is None else finite_or_none(scores.kl.double().mean())
    return TextMetrics(
        errors=wrong,
        accuracy=(tokens - wrong) / tokens,
        nll=nats / tokens,
        ece=finite_or_none(calibration_error(confidence, scores.right.flatten())),
        agreement=None if scores.agrees is None else float(scores.agrees.double().mean()),
        kl_to_teacher=kl,
        bits_per_byte=nats / math.log(2) / size,
        perplexity=math.exp(min(nats / tokens, MAX_NATS)),
    )
