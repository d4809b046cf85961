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


def hard(z, y):
    """Per sample, 0 where the label is -100."""
    picked = np.take_along_axis(log_softmax(z, axis=-1), np.where(y < 0, 0, y)[..., None], -1)[..., 0]
    return np.where(y == -100, 0.0, -picked)


def objective(z, v, y, *, hard_weight, soft_weight, temperature, soft, scale_by_t2):
    """Loss, hard and soft term for one student, z and v ``[B, C]``."""
    labelled = y != -100
    hard_term = hard(z, y).sum() / max(labelled.sum(), 1)
    soft_term = 0.0
    if soft_weight > 0:
        soft_term = SOFT[soft](z, v, temperature).mean() * (temperature**2 if scale_by_t2 else 1)
    return hard_weight * hard_term + soft_weight * soft_term, hard_term, soft_term


SOFT = {"kl": kl, "cross_entropy": cross_entropy, "probabilities": probabilities, "logits": logits}


@pytest.fixture(scope="session")
def oracle():
    return SimpleNamespace(soft=SOFT, hard=hard, objective=objective)
