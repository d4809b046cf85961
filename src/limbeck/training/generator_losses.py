"""Losses of a generator that is trained against a teacher."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from limbeck.losses.divergences import relative_entropy

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


def certainty_loss(answer: Tensor) -> Tensor:
    """Cross-entropy of an answer ``[..., B, C]`` with its own top class, ``[..., B]``."""
    return cross_entropy(
        answer.movedim(-1, 1 if answer.ndim > 1 else 0), answer.argmax(-1), reduction="none"
    )


def balance_loss(answer: Tensor) -> Tensor:
    """log C minus the entropy of the mean softmax of logits ``[B, C]``; 0 for a uniform mean."""
    mean = answer.softmax(-1).mean(0)
    return math.log(len(mean)) + torch.special.xlogy(mean, mean).sum()


def disagreement(student: Tensor, teacher: Tensor) -> Tensor:
    """Jensen-Shannon divergence between two answers ``[..., B, C]``, ``[..., B]``.

    It is at most log 2, so that it cannot dominate the other losses.
    """
    one, other = student.float().log_softmax(-1), teacher.float().log_softmax(-1)
    mean = torch.logaddexp(one, other) - math.log(2)
    return (relative_entropy(one, mean) + relative_entropy(other, mean)) / 2


def statistics_loss(layer: BatchNorm, x: Tensor) -> Tensor:
    """Distance of a batch from the running statistics of a BatchNorm layer.

    Mean over channels of the squared difference of the means, in units of the layer's variance, and
    of the squared logarithm of the ratio of the variances.

    Args:
        layer: Layer with running statistics.
        x: Inputs of the layer, ``[B, C, ...]``.
    """
    assert layer.running_mean is not None
    assert layer.running_var is not None
    others = [dim for dim in range(x.ndim) if dim != 1]
    mean, variance = x.float().mean(others), x.float().var(others, unbiased=False)
    running_var = layer.running_var + layer.eps
    shift = (mean - layer.running_mean).square() / running_var
    return (shift + ((variance + layer.eps) / running_var).log().square()).mean()


@contextmanager
def statistics_of(models: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect the :func:`statistics_loss` of all BatchNorm layers of the models in a list."""
    terms: list[Tensor] = []

    def append_loss(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        terms.append(statistics_loss(layer, inputs[0]))  # type: ignore[arg-type]

    layers = [layer for model in models for layer in model.modules()]
    layers_with_statistics = [
        layer for layer in layers if isinstance(layer, BatchNorm) and layer.track_running_stats
    ]
    handles = [layer.register_forward_pre_hook(append_loss) for layer in layers_with_statistics]
    try:
        yield terms
    finally:
        for handle in handles:
            handle.remove()
