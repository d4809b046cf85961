"""Language models: scores of every token of a split, bits per byte, and the comparison of arms by
them.

Logits of a text are too many to keep: what is kept are a few numbers a token.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from limbeck.evaluation.comparison import (
    Interval,
    combine_p_values,
    gap_closed,
    gap_interval,
    paired_interval,
    total_interval,
    verdict,
)
from limbeck.evaluation.metrics import calibration_error

STRETCHES = 100
"""Of a test text, at most: neighbouring tokens depend on each other, so the test is over stretches
of them.
"""

Batch = tuple[Tensor, Tensor, Tensor | None]
"""Inputs ``[B, T]``, labels ``[B, T]``, and a teacher's logits ``[B, T, V]`` or None."""


@dataclass(frozen=True)
class TokenScores:
    """A language model's answers to a split of N blocks.

    Attributes:
        nll: nats of each token, float32 ``[N, T]``.
        right: whether the likeliest token is the one that follows, ``[N, T]``.
        confidence: its probability, float32 ``[N, T]``.
        agrees: whether it is the teacher's likeliest too, ``[N, T]``; None without a teacher.
        kl: of the model from the teacher at T = 1 in nats, float32 ``[N, T]``; likewise.
    """

    nll: Tensor
    right: Tensor
    confidence: Tensor
    agrees: Tensor | None = None
    kl: Tensor | None = None


@torch.no_grad()
def score_tokens(batches: Iterable[Batch], model: nn.Module | None = None) -> TokenScores:
    """Score a language model on a split.

    Args:
        batches: of the split.
        model: gives logits ``[B, T, V]``, put into eval mode; None to score the teacher of the
            batches itself.
    """
    device = torch.device("cpu")
    if model is not None:
        device = next((p.device for p in model.eval().parameters()), device)
    parts = []
    for x, y, teacher in batches:
        logits = teacher if model is None else model(x.to(device))
        assert logits is not None
        parts.append(_scores(logits, y.to(logits.device), teacher))
    whole: Any = [
        None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)
    ]
    return TokenScores(*whole)


def _scores(logits: Tensor, labels: Tensor, teacher: Tensor | None) -> tuple[Tensor | None, ...]:
    """The fields of :class:`TokenScores` for a batch, on the CPU."""
    log_q = torch.log_softmax(logits.float(), -1)
    nll = -log_q.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    best, top = log_q.max(-1)
    found: list[Tensor | None] = [nll, top == labels, best.exp(), None, None]
    if teacher is not None:
        log_p = torch.log_softmax(teacher.to(logits.device).float(), -1)
        p = log_p.exp()
        kl = torch.where(p > 0, p * (log_p - log_q), 0.0).sum(-1)
        found[3:] = [log_p.argmax(-1) == top, kl]
    return tuple(None if part is None else part.cpu() for part in found)


def token_metrics(scores: TokenScores, size: int) -> dict[str, float | int | None]:
    """The metrics of one language model as ``summary.json`` keeps them.

    Errors are tokens; nll and kl_to_teacher are nats a token, perplexity is exp(nll). Bits per byte
    do not depend on
    the tokenizer: the nats of all tokens, in bits, over the bytes of text that they stand for.

    Args:
        scores: of the model.
        size: bytes of text that the split's labels stand for.
    """
    tokens = scores.nll.numel()
    wrong = tokens - int(scores.right.sum())
    nats = float(scores.nll.double().sum())
    return {
        "errors": wrong,
        "accuracy": (tokens - wrong) / tokens,
        "nll": nats / tokens,
        "ece": calibration_error(scores.confidence.flatten().double(), scores.right.flatten()),
        "agreement": None if scores.agrees is None else float(scores.agrees.double().mean()),
        "kl_to_teacher": None if scores.kl is None else float(scores.kl.double().mean()),
        "bits_per_byte": nats / math.log(2) / size,
        "perplexity": math.exp(min(nats / tokens, 700.0)),
    }


def compare_tokens(
    arm: Sequence[TokenScores],
    control: Sequence[TokenScores],
    size: int,
    teacher: TokenScores | None,
) -> dict[str, Any]:
    """Compare two arms, seed by seed, by their bits per byte.

    The verdict needs both an interval over seeds and stretches of the text that excludes 0, and a
    paired t-test over the stretches, as :func:`limbeck.evaluation.comparison.compare` needs
    McNemar's.

    Args:
        arm: scores of each seed.
        control: likewise, same seeds and split.
        size: bytes of text that the split's labels stand for.
        teacher: of the same split, if there is one.

    Returns:
        ``delta_bits_per_byte`` and ``delta_errors`` (arm - control: mean, ci95, per_seed; the first
        with ci95_total), ``p_value``, ``mcnemar_p`` (None: tokens depend on each other),
        ``gap_closed`` and ``verdict``.
    """
    bits = np.stack([_by_stretch(a.nll - c.nll) for a, c in zip(arm, control, strict=True)]) / (
        math.log(2) * size
    )
    per_seed = bits.sum(1)
    interval, total = paired_interval(per_seed.tolist()), total_interval(bits)
    p_value = combine_p_values([_paired_p(row) for row in bits])
    arm_errors, control_errors = (
        [scores.right.numel() - int(scores.right.sum()) for scores in side]
        for side in (arm, control)
    )
    changes = [a - c for a, c in zip(arm_errors, control_errors, strict=True)]
    arm_nll, control_nll = (
        [float(scores.nll.double().mean()) for scores in side] for side in (arm, control)
    )
    theirs = None if teacher is None else float(teacher.nll.double().mean())
    wrong = None if teacher is None else teacher.right.numel() - int(teacher.right.sum())
    return {
        "delta_errors": {
            **_described(paired_interval(changes)),
            "ci95_total": None,
            "per_seed": changes,
        },
        "delta_bits_per_byte": {
            **_described(interval),
            "ci95_total": _described(total)["ci95"],
            "per_seed": per_seed.tolist(),
        },
        "mcnemar_p": None,
        "p_value": p_value,
        "gap_closed": {
            "errors": gap_closed(float(np.mean(arm_errors)), float(np.mean(control_errors)), wrong),
            "nll": gap_closed(float(np.mean(arm_nll)), float(np.mean(control_nll)), theirs),
            "nll_ci95": gap_interval(arm_nll, control_nll, theirs),
        },
        "verdict": verdict(total, p_value),
    }


def _described(interval: Interval) -> dict[str, Any]:
    return {"mean": interval.mean, "ci95": None if interval.ci95 is None else list(interval.ci95)}


def _by_stretch(values: Tensor) -> np.ndarray:
    """Sums over up to :data:`STRETCHES` stretches of consecutive blocks, of values ``[N, T]``."""
    return np.array(
        [float(part.double().sum()) for part in values.tensor_split(min(STRETCHES, len(values)))]
    )


def _paired_p(differences: np.ndarray) -> float:
    """Two-sided p-value of the t-test that the differences have mean 0; 1 where they are all 0 or
    there is one.
    """
    if len(differences) < 2 or not differences.any():
        return 1.0
    if differences.std() == 0:
        return 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)
