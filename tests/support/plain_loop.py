"""Training one student with torch alone: what a cohort and the one-call functions are compared
with.
"""

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn

UNLABELLED = -100


def soft_loss(z, v, *, soft="kl", temperature=4.0):
    """One value per sample, the T^2 left out."""
    p, q = F.softmax(v / temperature, -1), F.softmax(z / temperature, -1)
    if soft == "kl":
        return F.kl_div(F.log_softmax(z / temperature, -1), p, reduction="none").sum(-1)
    if soft == "cross_entropy":
        return F.cross_entropy(z / temperature, p, reduction="none")
    if soft == "probabilities":
        return ((p - q) ** 2).sum(-1)
    return ((z - v) / temperature).var(-1, correction=0) / 2


def loss_terms(
    z, v, y, *, hard_weight=0.1, soft_weight=0.9, temperature=4.0, soft="kl", scale_by_t2=True
):
    """Loss, hard and soft term of one student."""
    labelled = y != UNLABELLED
    hard = F.cross_entropy(z[labelled], y[labelled]) if labelled.any() else z.sum() * 0
    term = z.sum() * 0
    if soft_weight:
        term = soft_loss(z, v, soft=soft, temperature=temperature).mean() * (
            temperature**2 if scale_by_t2 else 1
        )
    return hard_weight * hard + soft_weight * term, hard, term


def train_alone(
    model, batches, make_optimizer, *, teacher=None, clip=None, max_norm=None, **settings
):
    """Train ``model`` on ``batches`` of (x, y), one step each; returns the losses.

    ``max_norm`` maps names of weights to the bound on the norm of their rows.
    """
    optimizer = make_optimizer([p for p in model.parameters() if p.requires_grad])
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        with torch.no_grad():
            v = None if teacher is None else teacher(x)
        loss, _, _ = loss_terms(model(x), v, y, **settings)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
        with torch.no_grad():
            for name, bound in (max_norm or {}).items():
                weight = model.get_parameter(name)
                weight.copy_(torch.renorm(weight, 2, 0, bound))
    return losses


def far(result, expected):
    """The largest distance of two models' tensors, relative to the norm of each."""
    pairs = zip(result.state_dict().items(), expected.state_dict().items(), strict=True)
    distances = []
    for (name, a), (other, b) in pairs:
        assert name == other
        distances.append(((a - b).double().norm() / b.double().norm().clamp(min=1e-12)).item())
    return max(distances)


def same(result, expected):
    """Whether two models have bitwise equal tensors."""
    a, b = result.state_dict(), expected.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


class Loader:
    """Batches that are read once an epoch; Lightning takes a bare list for a list of loaders."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


def trainer(**options):
    """The user's own Trainer, silent and on the CPU."""
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return L.Trainer(**{**quiet, **options})
