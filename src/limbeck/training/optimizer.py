"""Optimizers and learning rate schedules.

All optimizers are element-wise, so that stacked students do not affect each other.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from limbeck._base.errors import ConfigError

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
SCHEDULES = ("constant", "one_cycle", "cosine", "linear")
AVERAGES = ("ema", "swa")
WARM_UP = 0.1
"""Share of the steps in which the learning rate of ``linear`` rises."""
FUSED_ON = ("cpu", "cuda")
"""Types of devices with fused optimizers."""


Parameters = Iterable[nn.Parameter] | Sequence[dict[str, Any]]
"""Parameters to train, or groups of them, as for ``torch.optim``."""


def groups_of(parameters: Parameters) -> list[dict[str, Any]]:
    """Return groups of the parameters that are trained."""
    items: list[Any] = list(parameters)
    if not items or not isinstance(items[0], dict):
        items = [{"params": items}]
    groups = []
    for group in items:
        tensors = [parameter for parameter in group["params"] if parameter.requires_grad]
        groups.append({**group, "params": tensors})
    return groups


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Settings of the optimizer of a student.

    Attributes:
        name: ``adam``, ``adamw`` or ``sgd`` (with Nesterov momentum).
        lr: Learning rate; the largest one of the schedule.
        weight_decay: Weight decay; decoupled for ``adamw``, in the gradient otherwise.
        momentum: Momentum of ``sgd``.
        schedule: ``constant``, ``one_cycle`` (Smith and Topin 2018), ``cosine``, or ``linear``: a
            rise in the first tenth of the steps and a fall to 0, with which encoders are fine-tuned
            (Devlin et al. 2019). Each goes over the whole training.
        averaging: Average of the weights over the steps, which takes the place of the last weights
            in validation and at the end: ``ema``, the exponential moving average; ``swa``, the mean
            over the last quarter of the steps (Izmailov et al. 2018); None for no average.
        ema_decay: Decay of ``ema`` in each step. After n steps it is at most
            ``(1 + n) / (10 + n)``, so that a short training forgets its first steps, too.

    Raises:
        ConfigError: If a value is out of range.
    """

    name: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: str = "constant"
    averaging: str | None = None
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        self._check_choice("name", OPTIMIZERS)
        self._check_choice("schedule", SCHEDULES)
        if self.averaging is not None:
            self._check_choice("averaging", AVERAGES)
        for name in ("lr", "weight_decay", "momentum", "ema_decay"):
            self._check_number(name)
        if self.ema_decay >= 1:
            raise ConfigError(
                f"optimizer.ema_decay={self.ema_decay!r} should be below 1; 0.999 is usual."
            )
        if self.lr == 0:
            raise ConfigError("optimizer.lr=0 learns nothing; 1e-3 is usual for adam.")

    def _check_choice(self, name: str, known: Iterable[str]) -> None:
        value = getattr(self, name)
        if not isinstance(value, str) or value not in known:
            raise ConfigError(
                f"optimizer.{name}={value!r} is unknown; choose one of {', '.join(known)}."
            )

    def _check_number(self, name: str) -> None:
        value = getattr(self, name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and value >= 0):
            raise ConfigError(
                f"optimizer.{name}={value!r} should be a finite number, not negative."
            )

    def build(
        self, parameters: Parameters, steps: int, *, fused: bool = True
    ) -> tuple[torch.optim.Optimizer, LRScheduler | None]:
        """Create the optimizer and its schedule, which is None for a constant learning rate.

        Args:
            parameters: Parameters to train; or groups of them, each with an ``lr`` of its own.
            steps: Number of optimizer steps of the training; -1 if it is unknown.
            fused: Whether to use the fused implementation where there is one.

        Raises:
            ConfigError: If the schedule needs the number of steps and it is unknown.
        """
        if self.schedule != "constant" and steps < 1:
            raise ConfigError(
                f"optimizer.schedule={self.schedule} needs a loader that has a length."
            )
        groups = groups_of(parameters)
        tensors = [p for group in groups for p in group["params"]]
        fusible = all(p.is_floating_point() and p.device.type in FUSED_ON for p in tensors)
        options: dict[str, Any] = {
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "fused": fused and fusible,
        }
        if self.name == "sgd":
            options |= {"momentum": self.momentum, "nesterov": self.momentum > 0}
        optimizer = OPTIMIZERS[self.name](groups, **options)
        if self.schedule == "one_cycle":
            rates = [group.get("lr", self.lr) for group in groups]
            return optimizer, OneCycleLR(optimizer, max_lr=rates, total_steps=max(2, steps))
        if self.schedule == "cosine":
            return optimizer, CosineAnnealingLR(optimizer, T_max=max(1, steps))
        if self.schedule == "linear":
            return optimizer, LambdaLR(optimizer, LinearFactor(steps))
        return optimizer, None


@dataclass(frozen=True)
class LinearFactor:
    """Factor of the learning rate in each step: a linear rise, then a linear fall to 0.

    Attributes:
        steps: Number of optimizer steps of the training.
    """

    steps: int

    def __call__(self, step: int) -> float:
        """Return the factor of a step, from 0 to 1."""
        rise = math.ceil(WARM_UP * self.steps)
        if step < rise:
            return step / rise
        return max(0.0, (self.steps - step) / max(1, self.steps - rise))


OptimizerLike = (
    Optimizer | torch.optim.Optimizer | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
)
"""Settings, an optimizer that holds the parameters, or a function that creates one from them."""


def build_optimizer(
    optimizer: OptimizerLike,
    parameters: Parameters,
    *,
    steps: Callable[[], int],
    fused: bool,
) -> tuple[torch.optim.Optimizer, LRScheduler | None]:
    """Create the optimizer of a training and its schedule, if it has one.

    Args:
        optimizer: Settings, an optimizer or a function that creates one.
        parameters: Parameters to train; or groups of them, for settings.
        steps: Function that returns the number of optimizer steps; called if a schedule needs it.
        fused: Whether to use the fused implementation where there is one.

    Raises:
        ConfigError: If all parameters are frozen, or the optimizer has none of them.
    """
    flat: list[Any] = list(parameters)
    groups = groups_of(flat)
    if not any(group["params"] for group in groups):
        raise ConfigError(
            "The student has no parameters to train: it has none, or all are frozen. Set "
            "requires_grad of those that should learn."
        )
    if isinstance(optimizer, Optimizer):
        count = 0 if optimizer.schedule == "constant" else steps()
        return optimizer.build(groups, count, fused=fused)
    own = optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(flat)
    _check_parameters(own, flat)
    return own, None


def _check_parameters(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """Check that an optimizer created by the user changes some of the parameters."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(
            f"optimizer returned {type(optimizer).__name__}; expected a torch.optim.Optimizer, as "
            "from lambda parameters: torch.optim.Adam(parameters)."
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError(
            "LBFGS evaluates a batch several times in a step, which limbeck's training does not. "
            "Use another optimizer, such as torch.optim.Adam."
        )
    trained = {id(parameter) for parameter in parameters if parameter.requires_grad}
    for group in optimizer.param_groups:
        if any(id(parameter) in trained for parameter in group["params"]):
            return
    raise ConfigError(
        "The optimizer has none of the student's parameters, so training would change nothing. "
        "Create it from student.parameters(), or pass a function: "
        "optimizer=lambda parameters: torch.optim.Adam(parameters). A cohort has copies of its "
        "members' parameters and needs a function."
    )
