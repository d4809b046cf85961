"""Settings of a search: what limits it, and what it may choose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from limbeck._base.checks import check_keys
from limbeck._base.errors import ConfigError
from limbeck.data import Dataset
from limbeck.search.budget import Budget
from limbeck.search.space import KINDS, SearchSpace
from limbeck.search.wider_controls import check_factors

DEFAULT_TRIALS = 64
MAX_TRIALS = 10_000
GROUPS = ("budget", "search")
"""Groups of settings of a search."""
KEYS = (*GROUPS, "trials", "hours", "wider_controls")
"""Settings of a search that no other verb has: its groups, and settings without one."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Settings of a search.

    Attributes:
        budget: Limits of the student on its device.
        space: Search space of the students and their training.
        trials: Number of students to train in the search; those over the budget do not count. None
            for 64, or for as many as ``hours`` allow.
        hours: Duration of the search in hours, without the teacher's answers and the final study.
            The last round is as large as the time allows. None for no such limit.
        wider_controls: Widths of further controls in the final study, in widths of the chosen
            student. They show at which size a student without the teacher makes as few errors.

    Raises:
        ConfigError: If a number is out of range.
    """

    budget: Budget
    space: SearchSpace = field(default_factory=SearchSpace)
    trials: int | None = None
    hours: float | None = None
    wider_controls: Sequence[float] = ()

    def __post_init__(self) -> None:
        is_count = isinstance(self.trials, int) and not isinstance(self.trials, bool)
        if self.trials is not None and not (is_count and 1 <= self.trials <= MAX_TRIALS):
            raise ConfigError(
                f"trials={self.trials} should be a number of students to train in the search, from "
                f"1 to {MAX_TRIALS:,}, as in trials={DEFAULT_TRIALS}."
            )
        is_number = isinstance(self.hours, int | float) and not isinstance(self.hours, bool)
        is_duration = is_number and math.isfinite(self.hours or 0) and (self.hours or 0) > 0
        if self.hours is not None and not is_duration:
            raise ConfigError(f"hours={self.hours} should be a number above 0, as in hours=0.5.")
        object.__setattr__(self, "wider_controls", check_factors(self.wider_controls))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "SearchSettings":
        """Create settings from the groups ``budget`` and ``search``, and settings without a group.

        Raises:
            ConfigError: If a value is out of range.
        """
        if not isinstance(settings, Mapping):
            raise ConfigError(f"fit={settings!r} should be a group of settings.")
        check_keys(settings, KEYS)
        return cls(
            budget=Budget.of(settings.get("budget") or {}),
            space=SearchSpace.of(settings.get("search")),
            trials=settings.get("trials"),
            hours=settings.get("hours"),
            wider_controls=settings.get("wider_controls") or (),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        space = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.space).items()
        }
        budget = asdict(self.budget)
        for name in ("profile", "bundle"):
            budget[name] = None if budget[name] is None else str(budget[name])
        return {
            "budget": budget,
            "search": space,
            "trials": self.trials,
            "hours": self.hours,
            "wider_controls": list(self.wider_controls),
        }

    @property
    def limit(self) -> int:
        """Largest number of students to train."""
        if self.trials is not None:
            return self.trials
        return DEFAULT_TRIALS if self.hours is None else MAX_TRIALS

    def size_of_round(
        self, largest: int, trials: int, seconds: float, seconds_per_student: float
    ) -> int:
        """Return the number of students of the next round; 0 if the search is over.

        Args:
            largest: Largest number of students of a round.
            trials: Number of students that were trained.
            seconds: Duration of the search so far.
            seconds_per_student: Duration of the last round, divided by its students; 0 if there was
                none.
        """
        size = min(largest, self.limit - trials)
        if self.hours is None or trials == 0:
            return size
        rest = 3600 * self.hours - seconds
        if seconds_per_student > 0:
            size = min(size, int(rest // seconds_per_student))
        return max(0, size) if rest > 0 else 0

    def check(self, data: Dataset) -> None:
        """Check that the settings fit a dataset.

        Raises:
            ConfigError: If a student does not fit or has no width for wider controls, or if every
            student meets the goal of errors.
        """
        without_width = [name for name in self.space.kinds(data) if name not in KINDS]
        if self.wider_controls and without_width:
            raise ConfigError(
                f"wider_controls={list(self.wider_controls)}: {without_width[0]} has no width to "
                "multiply. Leave wider_controls out, or choose other kinds with search.students."
            )
        errors = self.budget.errors
        if errors is not None and data.kind.has_classes and errors >= len(data.val):
            raise ConfigError(
                f"budget.errors={errors:g} would allow errors on all {len(data.val):,} samples of "
                "the validation split, on which they are counted. Set a smaller number."
            )
