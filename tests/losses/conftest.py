"""Oracles of the losses in float64 with numpy and scipy; they share no code with the package."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax


def kl(z, v, t):
    return rel_entr(softmax(v / t, axis=-1), softmax(z / t, axis=-1)).sum(-1)


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
    targets = top if y is None else [int(top[b]) if y[b] == -100 else int(y[b]) for b in range(len(z))]
    return np.array([one(z[b], v[b], targets[b]) for b in range(len(z))])


def dist(z, v, t):
    """Huang et al. 2022: Pearson's distances of the rows, plus the mean of those of the columns (for every sample)."""
    p, q = softmax(v / t, axis=-1), softmax(z / t, axis=-1)
    inter = [1 - np.corrcoef(q[b], p[b])[0, 1] for b in range(len(z))]
    intra = [1 - np.corrcoef(q[:, c], p[:, c])[0, 1] for c in range(z.shape[1])]
    return np.array(inter) + np.mean(intra)


def standardised(x):
    """Sun et al. 2024: less the mean, divided by the standard deviation over the classes."""
    return np.array([(row - np.mean(row)) / np.sqrt(np.mean((row - np.mean(row)) ** 2)) for row in x])


def hard(z, y):
    """Per sample, 0 where the label is -100."""
    picked = np.take_along_axis(log_softmax(z, axis=-1), np.where(y < 0, 0, y)[..., None], -1)[..., 0]
    return np.where(y == -100, 0.0, -picked)


def graded(z, y):
    """Squared error of the score that a graded student's logits hold."""
    return np.where(y == -100, 0.0, (z[..., 1] - z[..., 0] + 0.5 - y) ** 2)


def objective(
    z, v, y, *, hard_weight, soft_weight, temperature, soft, scale_by_t2, standardise=False, target_weight=1.0,
    nontarget_weight=8.0, hard="cross_entropy", class_weights=None, features=(),
):  # fmt: skip
    """Loss, hard and soft term for one student, z and v ``[B, C]``."""
    labelled = y != -100
    weights = np.ones(z.shape[1]) if class_weights is None else np.array(class_weights)
    hard_term = (weights[np.where(labelled, y, 0)] * HARD[hard](z, y)).sum() / max(labelled.sum(), 1)
    soft_term = 0.0
    if soft_weight > 0:
        z, v = (standardised(z), standardised(v)) if standardise else (z, v)
        own = (y, target_weight, nontarget_weight) if soft == "dkd" else ()
        soft_term = SOFT[soft](z, v, temperature, *own).mean() * (temperature**2 if scale_by_t2 else 1)
    return hard_weight * hard_term + soft_weight * soft_term, hard_term, soft_term


SOFT = {
    "kl": kl, "cross_entropy": cross_entropy, "probabilities": probabilities, "logits": logits, "dkd": dkd,
    "dist": dist,
}  # fmt: skip
HARD = {"cross_entropy": hard, "squared_error": graded}


@pytest.fixture(scope="session")
def oracle():
    return SimpleNamespace(soft=SOFT, hard=hard, objective=objective, standardised=standardised)
