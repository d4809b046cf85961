"""Optimizers that treat every weight by itself, so that stacked students do not touch each other,
and schedules.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from limbeck._base.errors import ConfigError

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
SCHEDULES = ("constant", "one_cycle", "cosine")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How a student is optimised.

    Attributes:
        name: ``adam``, ``adamw`` or ``sgd`` (with Nesterov momentum).
        lr: learning rate, the largest one of the schedule.
        weight_decay: decoupled for ``adamw``, in the gradient otherwise.
        momentum: of ``sgd``.
        schedule: ``constant``, ``one_cycle`` (Smith and Topin 2018) or ``cosine``, each over the
            whole training.

    Raises:
        ConfigError: a value is out of range.
    """

    name: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: str = "constant"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in OPTIMIZERS:
            raise ConfigError(
                f"optimizer.name={self.name!r} is unknown; choose one of {', '.join(OPTIMIZERS)}."
            )
        if not isinstance(self.schedule, str) or self.schedule not in SCHEDULES:
            raise ConfigError(
                f"optimizer.schedule={self.schedule!r} is unknown; choose one of "
                f"{', '.join(SCHEDULES)}."
            )
        for name, least in (("lr", 0), ("weight_decay", None), ("momentum", None)):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not math.isfinite(value)
                or value < 0
            ):
                raise ConfigError(
                    f"optimizer.{name}={value!r} should be a finite number, not negative."
                )
            if least == 0 and value == 0:
                raise ConfigError(f"optimizer.{name}=0 would never learn; 1e-3 is usual for adam.")

    def build(
        self, parameters: Iterable[nn.Parameter], steps: int, *, fused: bool = True
    ) -> tuple[torch.optim.Optimizer, Any | None]:
        """The optimizer and its schedule (None if constant) for a training of ``steps`` steps.

        Raises:
            ConfigError: the schedule needs to know the number of steps and it is unknown (-1).
        """
        if self.schedule != "constant" and steps < 1:
            raise ConfigError(
                f"optimizer.schedule={self.schedule} needs a loader that has a length."
            )
        parameters = [p for p in parameters if p.requires_grad]
        fused = fused and all(
            p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters
        )
        options: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": fused}
        if self.name == "sgd":
            options |= {"momentum": self.momentum, "nesterov": self.momentum > 0}
        optimizer = OPTIMIZERS[self.name](parameters, **options)
        if self.schedule == "one_cycle":
            return optimizer, lr_scheduler.OneCycleLR(
                optimizer, max_lr=self.lr, total_steps=max(2, steps)
            )
        if self.schedule == "cosine":
            return optimizer, lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps))
        return optimizer, None


OptimizerLike = (
    Optimizer | torch.optim.Optimizer | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
)
