"""Learning rates of their own for the arms of a cohort."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.training.optimizer import Optimizer

T = TypeVar("T")


def split_rates(optimizer: T | Sequence[Optimizer], arms: int) -> tuple[Any, list[float] | None]:
    """Separate the learning rates of arms from what else their optimizers have in common.

    Args:
        optimizer: Optimizer of a cohort; or one for each arm, which differ in the rate alone.
        arms: Number of arms.

    Returns:
        The optimizer, and the rate of each arm; None if there is one for all.

    Raises:
        ConfigError: If the optimizers differ in more than the rate.
    """
    if not isinstance(optimizer, (list, tuple)):
        return optimizer, None
    first, rates = optimizer[0], [other.lr for other in optimizer]
    if len(rates) != arms or any(replace(other, lr=first.lr) != first for other in optimizer):
        raise ConfigError(
            f"Expected an optimizer for each of {arms} arms, which differ in lr alone. Train "
            "students with other optimizers in a cohort of their own."
        )
    return first, None if len(set(rates)) == 1 else rates


class RateGroups:
    """Views of the stacked weights of a cohort, one group of parameters for each learning rate.

    The views share the memory of the weights, so that an optimizer of the views trains them.

    Args:
        parameters: Stacked weights ``[S, A, ...]``.
        rates: Learning rate of each arm, ``[A]``.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], rates: Sequence[float]):
        self._views: list[tuple[nn.Parameter, nn.Parameter, int, slice]] = []
        self.groups: list[dict[str, Any]] = [
            {"params": [], "lr": rate} for rate in dict.fromkeys(rates)
        ]
        of_rate = {group["lr"]: group["params"] for group in self.groups}
        for parameter in parameters:
            if not parameter.requires_grad:
                continue
            for seed in range(len(parameter)):
                for arms in _runs(rates):  # neighbours in memory
                    view = nn.Parameter(parameter.data[seed, arms])
                    self._views.append((view, parameter, seed, arms))
                    of_rate[rates[arms.start]].append(view)

    def share_gradients(self) -> None:
        """Give the views the gradients of the weights, in the same memory."""
        for view, parameter, seed, arms in self._views:
            view.grad = None if parameter.grad is None else parameter.grad[seed, arms]

    def clear_gradients(self) -> None:
        """Set the gradients of the views to None."""
        for view, *_ in self._views:
            view.grad = None


def _runs(rates: Sequence[float]) -> list[slice]:
    """Return the ranges of neighbouring arms with the same rate."""
    runs, start = [], 0
    for _, arms in itertools.groupby(rates):
        length = len(list(arms))
        runs.append(slice(start, start + length))
        start += length
    return runs
