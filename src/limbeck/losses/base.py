"""Definitions of losses: a function, its own settings, and what it needs from a batch.

This module does not import torch, so that the command line and the report can read the table of
soft losses quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from limbeck._base.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

UNLABELLED = -100
"""Label of a sample without a label: its hard loss is 0 (PyTorch's ``ignore_index``)."""

MAX_NUMBER = 1e6
"""Maximum of weights and temperatures; float32 is not precise enough for larger ones."""

TWO_LOGITS = (
    "Use one logit per class, two for yes or no; a model with a sigmoid output z [B, 1] has the "
    "logits torch.cat([torch.zeros_like(z), z], -1)."
)
"""Advice for models with a single logit."""

LossFunction = Callable[..., "Tensor"]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number within float32's useful range; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= MAX_NUMBER  # false for NaN, and exact for integers of any size


@dataclass(frozen=True)
class Setting:
    """A number among the settings of an objective.

    Attributes:
        name: Key under ``objective``.
        default: Value if none is set.
        minimum: Smallest valid value.
        maximum: Largest valid value.
        expected: The valid range in words, for error messages.
        is_weight: Whether the setting weights a part of its loss. Not all of these may be 0.
    """

    name: str
    default: float
    minimum: float = 0.0
    maximum: float = MAX_NUMBER
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
                f"{MAX_NUMBER:,.0f}."
            )
        if not self.minimum <= value <= self.maximum:
            raise ConfigError(f"objective.{self.name}={value} should be {self.expected}.")


@dataclass(frozen=True)
class SoftLoss:
    """A loss of a student's logits against a teacher's.

    The objective, sweeps, the report and the checks of a store read these attributes.

    Attributes:
        name: Value of ``objective.soft``.
        function: Function of ``(student, teacher, *, temperature)`` and the settings below: logits
            ``[..., B, C]`` to one value per sample, ``[..., B]``, without the factor T^2. If its
            module imports torch, its dotted path.
        settings: Settings other than the temperature. The function takes each as a keyword argument
            that broadcasts against ``[..., B]``.
        uses_labels: Whether the function takes the argument ``labels``: int64 ``[..., B]``, or None
            for mixtures of samples.
        per_batch: Whether the value for a sample depends on the other samples of the batch.
        can_standardise: Whether ``objective.standardise`` can be used.
        needs_finite: Whether the value is NaN if the teacher excludes a class (logit -inf).
        sparse: Version of the loss for sparse targets, a function of
            ``(student, targets, *, temperature)`` or its dotted path; None if there is none.
        hard_weight: Recommended weight of the hard loss; ``objective=NAME`` sets it.
        soft_weight: Recommended weight of the soft loss, set in the same way.
        outputs: Kind of the outputs of both models, see :class:`limbeck.losses.tasks.Task`.
    """

    name: str
    function: LossFunction | str
    settings: tuple[Setting, ...] = ()
    uses_labels: bool = False
    per_batch: bool = False
    can_standardise: bool = False
    needs_finite: bool = False
    sparse: LossFunction | str | None = None
    hard_weight: float = 0.1
    soft_weight: float = 0.9
    outputs: str = "classes"

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
        """Return this loss with its functions imported, for compiled training steps."""
        sparse = self.sparse and load(self.sparse)
        return replace(self, function=load(self.function), sparse=sparse)


@dataclass(frozen=True)
class HardLoss:
    """A loss of a student's outputs against labels, at T = 1.

    Attributes:
        name: Value of ``objective.hard``.
        function: Function of logits ``[..., B, C]`` and int64 labels ``[..., B]`` to one value per
            sample, ``[..., B]``, which is 0 where the label is :data:`UNLABELLED`. For values,
            labels are ``[..., B, D]``, and NaN where there is none.
        can_smooth: Whether ``objective.label_smoothing`` applies to it.
        outputs: Kind of the outputs of the student, see :class:`limbeck.losses.tasks.Task`.
    """

    name: str
    function: LossFunction
    can_smooth: bool = False
    outputs: str = "classes"

    def __call__(self, student: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss per sample, ``[..., B]``."""
        return self.function(student, labels)


def check_several_classes(classes: int, model: str) -> None:
    """Check that a model has at least two logits.

    Args:
        classes: Number of logits.
        model: Name of the model's role, for the message.

    Raises:
        ConfigError: If there is only one.
    """
    if classes < 2:
        raise ConfigError(
            f"The {model} has one logit per sample, but the softmax over one class is always 1, so "
            f"every loss would be 0. {TWO_LOGITS}"
        )


def load(function: LossFunction | str) -> LossFunction:
    """Return a function; a dotted path is imported."""
    if not isinstance(function, str):
        return function
    module, _, name = function.rpartition(".")
    return getattr(import_module(module), name)
