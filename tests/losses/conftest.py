"""Oracles of the losses in float64 with numpy and scipy; they share no code with the package."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import entr, log_softmax, rel_entr, softmax


def kl(z, v, t):
    return rel_entr(softmax(v / t, axis=-1), softmax(z / t, axis=-1)).sum(-1)


def reverse_kl(z, v, t):
    return kl(v, z, t)


def jensen_shannon(z, v, t, share=0.5):
    """The entropy of the mixture less the mean entropy: the divergence written another way."""
    p, q = softmax(v / t, axis=-1), softmax(z / t, axis=-1)
    return (entr(share * p + (1 - share) * q) - share * entr(p) - (1 - share) * entr(q)).sum(-1)


def cross_entropy(z, v, t):
    return -(softmax(v / t, axis=-1) * log_softmax(z / t, axis=-1)).sum(-1)


def probabilities(z, v, t):
    return np.linalg.norm(softmax(z / t, axis=-1) - softmax(v / t, axis=-1), axis=-1) ** 2


def logits(z, v, t):
    return np.var((z - v) / t, axis=-1) / 2


def dkd(z, v, t, y=None, target_weight=1.0, nontarget_weight=8.0):
    """Zhao et al. 2022, sample by sample: the KL of (target, rest), and the KL within the rest."""

    def one(z, v, target):
        p, q = softmax(v / t), softmax(z / t)
        rest = [c for c in range(len(z)) if c != target]
        binary_p, binary_q = [p[target], p[rest].sum()], [q[target], q[rest].sum()]
        among = 0.0
        if np.isfinite(v[rest]).any():  # else the teacher excludes them all
            among = rel_entr(softmax(v[rest] / t), softmax(z[rest] / t)).sum()
        return target_weight * rel_entr(binary_p, binary_q).sum() + nontarget_weight * among

    top = v.argmax(-1)
    targets = (
        top if y is None else [int(top[b]) if y[b] == -100 else int(y[b]) for b in range(len(z))]
    )
    return np.array([one(z[b], v[b], targets[b]) for b in range(len(z))])


def dist(z, v, t):
    """Huang et al. 2022: Pearson's distances of the rows, plus the mean of those of the columns
    (for every sample).
    """
    p, q = softmax(v / t, axis=-1), softmax(z / t, axis=-1)
    inter = [1 - np.corrcoef(q[b], p[b])[0, 1] for b in range(len(z))]
    intra = [1 - np.corrcoef(q[:, c], p[:, c])[0, 1] for c in range(z.shape[1])]
    return np.array(inter) + np.mean(intra)


def standardised(x):
    """Sun et al. 2024: less the mean, divided by the standard deviation over the classes."""
    return np.array(
        [(row - np.mean(row)) / np.sqrt(np.mean((row - np.mean(row)) ** 2)) for row in x]
    )


def hard(z, y):
    """Per sample, 0 where the label is -100."""
    selected = np.take_along_axis(log_softmax(z, axis=-1), np.where(y < 0, 0, y)[..., None], -1)[
        ..., 0
    ]
    return np.where(y == -100, 0.0, -selected)


def smoothed(z, y, smoothing):
    """Cross-entropy with explicit soft labels, 0 where the label is -100."""
    classes = z.shape[-1]
    targets = (1 - smoothing) * np.eye(classes)[np.where(y < 0, 0, y)] + smoothing / classes
    return np.where(y == -100, 0.0, -(targets * log_softmax(z, axis=-1)).sum(-1))


def graded(z, y):
    """Squared error of the score that a graded student's logits hold."""
    return np.where(y == -100, 0.0, (z[..., 1] - z[..., 0] + 0.5 - y) ** 2)


def objective(
    z,
    v,
    y,
    *,
    hard_weight,
    soft_weight,
    temperature,
    soft,
    scale_by_t2,
    standardise=False,
    target_weight=1.0,
    nontarget_weight=8.0,
    hard="cross_entropy",
    class_weights=None,
    features=(),
    shuffled=False,
    teacher_share=0.5,
    label_smoothing=0.0,
):
    """Loss, hard and soft term for one student, z and v ``[B, C]``."""
    labelled = y != -100
    weights = np.ones(z.shape[1]) if class_weights is None else np.array(class_weights)
    values = smoothed(z, y, label_smoothing) if label_smoothing else HARD[hard](z, y)
    hard_term = (weights[np.where(labelled, y, 0)] * values).sum() / max(labelled.sum(), 1)
    soft_term = 0.0
    if soft_weight > 0:
        z, v = (standardised(z), standardised(v)) if standardise else (z, v)
        v = v[(np.arange(len(v)) + len(v) // 2) % len(v)] if shuffled else v
        own = {"dkd": (y, target_weight, nontarget_weight), "jensen_shannon": (teacher_share,)}.get(
            soft, ()
        )
        soft_term = SOFT[soft](z, v, temperature, *own).mean() * (
            temperature**2 if scale_by_t2 else 1
        )
    return hard_weight * hard_term + soft_weight * soft_term, hard_term, soft_term


SOFT = {
    "kl": kl,
    "cross_entropy": cross_entropy,
    "probabilities": probabilities,
    "logits": logits,
    "dkd": dkd,
    "dist": dist,
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
}
HARD = {"cross_entropy": hard, "squared_error": graded}


@pytest.fixture(scope="session")
def oracle():
    return SimpleNamespace(soft=SOFT, hard=hard, objective=objective, standardised=standardised)
