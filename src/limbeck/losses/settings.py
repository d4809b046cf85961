"""Settings of an objective, and their checks."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, make_dataclass
from typing import Any

from limbeck._base.errors import ConfigError
from limbeck.losses.base import Setting
from limbeck.losses.class_weights import check_class_weights
from limbeck.losses.features import Feature
from limbeck.losses.hard import HARD_LOSSES
from limbeck.losses.soft import SOFT_LOSSES, own_settings

NUMBERS = (
    Setting("hard_weight", 0.1),
    Setting("soft_weight", 0.9),
    Setting(
        "temperature",
        4.0,
        minimum=1e-3,  # the factor T^2 of smaller ones makes the soft loss vanish
        expected="at least 0.001 (1 does not soften the teacher's answers, 2 to 20 are usual)",
    ),
    Setting(
        "label_smoothing",
        0.0,
        maximum=math.nextafter(1, 0),
        expected="at least 0 and below 1 (0.1 is usual)",
    ),
)
"""The numbers among the settings that do not belong to a single soft loss."""

SWITCHES = ("scale_by_t2", "standardise", "shuffled")

# the settings of each soft loss are declared only in its entry
_OwnSettings: Any = make_dataclass(
    "_OwnSettings",
    [(setting.name, float, setting.default) for setting in own_settings().values()],
    frozen=True,
    kw_only=True,
)


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(_OwnSettings):
    """The settings of an :class:`~limbeck.losses.Objective`; see there for their meaning.

    Raises:
        ConfigError: If a value is out of range, or settings contradict each other.
    """

    hard_weight: float = 0.1
    soft_weight: float = 0.9
    temperature: float = 4.0
    soft: str = "kl"
    scale_by_t2: bool = True
    standardise: bool = False
    shuffled: bool = False
    hard: str = "cross_entropy"
    class_weights: str | Sequence[float] | None = None
    label_smoothing: float = 0.0
    features: Sequence[Feature] = ()

    def __post_init__(self) -> None:
        for setting in (*NUMBERS, *own_settings().values()):
            # losses that are registered later have settings without a field
            setting.check(getattr(self, setting.name, setting.default))
        for name in SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ConfigError(
                    f"objective.{name}={value!r} is not valid: expected true or false."
                )
        _check_name("soft", self.soft, SOFT_LOSSES)
        _check_name("hard", self.hard, HARD_LOSSES)
        object.__setattr__(self, "class_weights", check_class_weights(self.class_weights))
        object.__setattr__(self, "features", _features(self.features))
        self._check_weights()
        if self.soft_weight > 0:
            self._check_soft()
        self._check_smoothing()

    def _check_weights(self) -> None:
        if self.hard_weight == 0 and self.soft_weight == 0 and not self.features:
            raise ConfigError(
                "objective.hard_weight and objective.soft_weight are both 0: there is nothing to "
                "learn from. Set one of them above 0."
            )
        if self.shuffled and self.soft_weight == 0:
            raise ConfigError(
                "objective.shuffled=true shuffles the teacher's answers, but "
                "objective.soft_weight=0 uses none. Set it in an arm with a soft loss."
            )

    def _check_soft(self) -> None:
        loss = SOFT_LOSSES[self.soft]
        if self.standardise and not loss.can_standardise:
            names = [other.name for other in SOFT_LOSSES.values() if other.can_standardise]
            raise ConfigError(
                f"objective.standardise=true works with objective.soft={', '.join(names)}, not "
                f"with {self.soft}."
            )
        weights = [setting.name for setting in loss.settings if setting.is_weight]
        if weights and not any(getattr(self, name) for name in weights):
            raise ConfigError(
                f"{' and '.join(f'objective.{name}' for name in weights)} are both 0: "
                f"{self.soft} would be 0. Set one of them above 0."
            )

    def _check_smoothing(self) -> None:
        if not self.label_smoothing:
            return
        if not HARD_LOSSES[self.hard].can_smooth:
            names = [loss.name for loss in HARD_LOSSES.values() if loss.can_smooth]
            raise ConfigError(
                f"objective.label_smoothing={self.label_smoothing} works with "
                f"objective.hard={', '.join(names)}, not with {self.hard}."
            )
        if self.class_weights is not None:
            raise ConfigError(
                f"objective.label_smoothing={self.label_smoothing} cannot be combined with "
                "objective.class_weights. Set one of them."
            )

    @property
    def needs_teacher(self) -> bool:
        """Whether a soft loss or a layer of the teacher takes part."""
        return self.soft_weight > 0 or bool(self.features)

    @property
    def soft_scale(self) -> float:
        """Factor of the soft loss: T^2, or 1."""
        return float(self.temperature) ** 2 if self.scale_by_t2 else 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for JSON."""
        settings = asdict(self)
        for name in ("class_weights", "features"):
            if isinstance(settings[name], tuple):
                settings[name] = list(settings[name])
        return settings


def outputs_of(objectives: Sequence[ObjectiveSettings]) -> str:
    """Return what the outputs are for which the losses of all objectives are made.

    Raises:
        ConfigError: If some are for classes and others for values.
    """
    settings: dict[str, str] = {}
    for objective in objectives:
        if objective.hard_weight > 0:
            settings[HARD_LOSSES[objective.hard].outputs] = f"hard={objective.hard}"
        if objective.soft_weight > 0:
            settings[SOFT_LOSSES[objective.soft].outputs] = f"soft={objective.soft}"
    if len(settings) > 1:
        parts = [f"objective.{setting} is for {outputs}" for outputs, setting in settings.items()]
        raise ConfigError(
            f"{' and '.join(parts)}, but a student has outputs of one kind. For classes choose "
            "cross_entropy and kl, for regression mse for both, for several labels "
            "binary_cross_entropy and binary_kl, for embeddings contrastive and cosine_distance."
        )
    return next(iter(settings), "classes")


def _check_name(setting: str, value: Any, losses: dict[str, Any]) -> None:
    if not isinstance(value, str) or value not in losses:
        raise ConfigError(
            f"objective.{setting}={value!r} is unknown. Choose one of {', '.join(losses)}."
        )


def _features(value: Any) -> tuple[Feature, ...]:
    if isinstance(value, (str, dict)) or not isinstance(value, Sequence):
        raise ConfigError(
            f"objective.features={value!r} is not valid: expected a list, or [] for none."
        )
    return tuple(Feature.of(entry) for entry in value)
