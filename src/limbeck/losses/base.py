"""Definitions of losses: a function, its own settings, and what it needs from a batch.

Nothing here imports torch, so that the command line and the report can read the table of soft
losses without waiting for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from limbeck._base.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

UNLABELLED = -100
"""Label of a sample that has none: its hard loss is 0 (PyTorch's ``ignore_index``)."""

LARGEST = 1e6
"""Largest weight or temperature; beyond it float32 runs out of digits."""

LossFunction = Callable[..., "Tensor"]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that float32 can work with; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and abs(value) <= LARGEST


@dataclass(frozen=True)
class Setting:
    """A number among the settings of an objective.

    Attributes:
        name: Key under ``objective``.
        default: Value if none is set.
        least: Smallest valid value.
        most: Largest valid value.
        expected: The valid range in words, for error messages.
        is_weight: Whether it weighs a part of its loss, so that not all such settings may be 0.
    """

    name: str
    default: float
    least: float = 0.0
    most: float = LARGEST
    expected: str = "at least 0"
    is_weight: bool = False

    def check(self, value: Any) -> None:
        """Check a value of this setting.

        Raises:
            ConfigError: If it is not a finite number, or out of range.
        """
        if not is_number(value):
            raise ConfigError(
                f"objective.{self.name}={value!r} should be a finite number, at most "
                f"{LARGEST:,.0f}."
            )
        if not self.least <= value <= self.most:
            raise ConfigError(f"objective.{self.name}={value} should be {self.expected}.")


@dataclass(frozen=True)
class SoftLoss:
    """A loss of a student's logits against a teacher's.

    Everything that depends on the kind of soft loss reads these attributes: the objective, sweeps,
    the report and the checks of a store.

    Attributes:
        name: Value of ``objective.soft``.
        function: Function of ``(student, teacher, *, temperature)`` and the settings below: logits
            ``[..., B, C]`` to one value per sample, ``[..., B]``, without the factor T^2. Or its
            dotted path, if its module imports torch.
        settings: Settings beside the temperature. The function takes each as a keyword argument
            that broadcasts against ``[..., B]``.
        uses_labels: Whether the function takes the argument ``labels``: int64 ``[..., B]``, or None
            for mixtures of samples.
        per_batch: Whether the value for a sample depends on the other samples of the batch.
        can_standardise: Whether ``objective.standardise`` makes sense for it.
        sparse: The same loss for a teacher that is known by some of its classes, a function of
            ``(student, targets, *, temperature)`` or its dotted path; None if there is none.
        hard_weight: Recommended weight of the hard loss; ``objective=NAME`` sets it.
        soft_weight: Recommended weight of the soft loss, likewise.
    """

    name: str
    function: LossFunction | str
    settings: tuple[Setting, ...] = ()
    uses_labels: bool = False
    per_batch: bool = False
    can_standardise: bool = False
    sparse: LossFunction | str | None = None
    hard_weight: float = 0.1
    soft_weight: float = 0.9

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        temperature: float | Tensor = 1.0,
        **settings: Any,
    ) -> Tensor:
        """Compute the loss per sample, ``[..., B]``, of logits ``[..., B, C]``."""
        return load(self.function)(student, teacher, temperature=temperature, **settings)

    def resolve(self) -> Self:
        """Return this loss with its functions imported, as a compiled training step needs them."""
        sparse = self.sparse and load(self.sparse)
        return replace(self, function=load(self.function), sparse=sparse)


@dataclass(frozen=True)
class HardLoss:
    """A loss of a student's logits against labels, at T = 1.

    Attributes:
        name: Value of ``objective.hard``.
        function: Function of logits ``[..., B, C]`` and int64 labels ``[..., B]`` to one value per
            sample, ``[..., B]``: 0 where the label is :data:`UNLABELLED`.
        can_smooth: Whether ``objective.label_smoothing`` applies to it.
    """

    name: str
    function: LossFunction
    can_smooth: bool = False

    def __call__(self, student: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss per sample, ``[..., B]``."""
        return self.function(student, labels)


def load(function: LossFunction | str) -> LossFunction:
    """Return a function, imported if it is given by its dotted path."""
    if not isinstance(function, str):
        return function
    module, _, name = function.rpartition(".")
    return getattr(import_module(module), name)
