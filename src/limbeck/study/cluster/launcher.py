"""Settings of the group ``launcher``: where the cohorts of a study are trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from limbeck._base.checks import check_count, check_keys, field_names
from limbeck._base.errors import ConfigError

KINDS = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """Where the cohorts of a study are trained.

    Attributes:
        name: ``local``: one after the other, in this process. ``ray``: as tasks of a Ray cluster.
        address: Address of a running cluster, such as ``auto`` or ``HOST:6379``; None for a cluster
            of this machine that is started for the study.
        cpus: Number of CPU cores of each training.
        gpus: Number of GPUs of each training, such as 1, or 0.25 for four trainings on a GPU.
        retries: Maximum number of times that a training starts again after its machine was lost.
        students: Maximum number of students of a cohort, so that there are enough cohorts for all
            machines; None for as many as fit into memory. The seeds of an arm stay together where
            they can.

    Raises:
        ConfigError: If a value is out of range.
    """

    name: str = "local"
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    retries: int = 3
    students: int | None = None

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise ConfigError(
                f"launcher={self.name!r} is unknown; choose one of {', '.join(KINDS)}."
            )
        if self.address is not None and not isinstance(self.address, str):
            raise ConfigError(f"launcher.address={self.address!r} should be a string, as in auto.")
        if str(self.address).startswith("ray://"):
            raise ConfigError(
                f"launcher.address={self.address}: a study writes its run folder, so it has to run "
                "on a machine of the cluster. Start it there with launcher.address=auto, for "
                "example with 'ray job submit'."
            )
        self._check_amount("cpus", self.cpus)
        self._check_amount("gpus", self.gpus)
        if self.cpus == 0:
            raise ConfigError("launcher.cpus=0 should be above 0, as in launcher.cpus=1.")
        if type(self.retries) is not int or self.retries < 0:
            raise ConfigError(
                f"launcher.retries={self.retries!r} should be a whole number, at least 0."
            )
        if self.students is not None:
            check_count("launcher.students", self.students)

    @classmethod
    def of(cls, settings: "Launcher | Mapping[str, Any] | str | None") -> Self:
        """Create settings from a name or a group of settings; None is ``local``.

        Raises:
            ConfigError: If a setting is unknown or its value out of range.
        """
        if isinstance(settings, cls):
            return settings
        if settings is None:
            return cls()
        if isinstance(settings, str):
            return cls(name=settings)
        if not isinstance(settings, Mapping):
            raise ConfigError(
                f"launcher={settings!r} should be a name, as in ray, or a group of settings."
            )
        check_keys(settings, field_names(cls), "launcher")
        return cls(**settings)

    @property
    def threads(self) -> int:
        """Number of threads of each training."""
        return max(1, int(self.cpus))

    def _check_amount(self, name: str, value: object) -> None:
        """Check a number of cores or GPUs: a whole number, or a part of one."""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        amount = float(value) if is_number else -1.0  # type: ignore[arg-type]
        if 0 <= amount < 1 or (amount >= 1 and amount.is_integer()):
            return
        raise ConfigError(
            f"launcher.{name}={value!r} should be a whole number, or a part of 1 such as 0.5."
        )
