"""Limits of a student on its device: size, latency, memory and errors."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from limbeck._base.checks import check_keys, field_names
from limbeck._base.errors import ConfigError
from limbeck.report.formats import file_size, milliseconds
from limbeck.run.cost import Precision

PRECISIONS = ("fp32", "int8")
BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
_QUANTITY = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-zµμ]*)\s*", re.IGNORECASE)


def parse_quantity(name: str, value: object, units: Mapping[str, float], example: str) -> float:
    """Parse a positive number with a unit, such as ``1MB`` or ``2 ms``.

    Args:
        name: Name of the setting, for messages.
        value: Text with a number and a unit.
        units: Size of each unit, by its name in lower case.
        example: Example of a value.

    Raises:
        ConfigError: If it is not a number, has no unit or another one, or is not above 0.
    """
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    names = ", ".join(dict.fromkeys(unit.replace("μ", "µ") for unit in units))
    message = (
        f"{name}={value} should be a number with one of the units {names}, as in {name}={example}."
    )
    if match is None:
        raise ConfigError(message)
    try:
        number = float(match[1])
    except ValueError:
        raise ConfigError(message) from None
    size = units.get(match[2].lower())
    if size is None:
        raise ConfigError(message)
    quantity = number * size
    if not math.isfinite(quantity) or quantity <= 0:
        raise ConfigError(f"{name}={value} should be above 0, as in {name}={example}.")
    return quantity


class Needs(NamedTuple):
    """What a student needs on the device; None for what was not measured.

    Attributes:
        size: Size of the exported model in bytes.
        latency: Median time for one input on one core in milliseconds.
        memory: Peak memory of a process that runs the model, in bytes.
    """

    size: float | None = None
    latency: float | None = None
    memory: float | None = None

    def __str__(self) -> str:
        parts = []
        if self.size is not None:
            parts.append(file_size(self.size))
        if self.latency is not None:
            parts.append(milliseconds(self.latency))
        if self.memory is not None:
            parts.append(f"{file_size(self.memory)} of memory")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a student on its device. Every limit is optional, but one has to be set.

    Attributes:
        size: Largest size of the exported model, such as ``1MB`` (1,000,000 bytes) or ``64KiB``.
        latency: Longest time for one input on one core, such as ``2ms``.
        memory: Largest peak memory of a process that runs the model, such as ``80MB``. Python and
            ONNX Runtime alone need about 60 MB of it.
        errors: Number of errors on the validation split at which a student is good enough; for
            other kinds of target the value of their measure. The smallest such student is then
            chosen. None for the best student within the other limits.
        precision: Number format of the exported model that has to meet the limits, ``fp32`` or
            ``int8``.
        profile: File that ``limbeck bench BUNDLE --out FILE`` wrote on another device, or
            ``run.py bench --out FILE``. The latency of that device then counts. None for this
            machine.
        bundle: Bundle that was measured in ``profile``. Its latency on this machine is measured, so
            that the latency of a student here can be converted to that of the device.

    Raises:
        ConfigError: If a value cannot be read, or nothing is limited.
    """

    size: str | None = None
    latency: str | None = None
    memory: str | None = None
    errors: float | None = None
    precision: Precision = "fp32"
    profile: str | Path | None = None
    bundle: str | Path | None = None

    def __post_init__(self) -> None:
        _ = self.limits  # whose units are checked
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"budget.precision={self.precision!r} is unknown. Choose one of "
                f"{', '.join(PRECISIONS)}."
            )
        is_number = isinstance(self.errors, int | float) and not isinstance(self.errors, bool)
        is_count = is_number and math.isfinite(self.errors or 0) and (self.errors or 0) >= 0
        if self.errors is not None and not is_count:
            raise ConfigError(
                f"budget.errors={self.errors} should be a number of validation errors, as in "
                "budget.errors=100."
            )
        if not any((self.size, self.latency, self.memory)) and self.errors is None:
            raise ConfigError(
                "The budget is empty, so the largest student would be the best. Set budget.size="
                "1MB, budget.latency=2ms, budget.memory=80MB or budget.errors=100."
            )
        for name in ("profile", "bundle"):
            path = getattr(self, name)
            if path is not None and not isinstance(path, str | Path):
                raise ConfigError(f"budget.{name}={path!r} should be the path of a file or folder.")
        if (self.profile is None) != (self.bundle is None):
            raise ConfigError(
                "budget.profile and budget.bundle belong together: the latency that 'run.py bench "
                "--out FILE' measured on the device, and the bundle that it measured. Set both."
            )
        if self.profile is not None and self.latency is None:
            raise ConfigError(
                "budget.profile is a measurement of latency, but no latency is limited. Set "
                "budget.latency=2ms, or remove the profile."
            )

    @classmethod
    def of(cls, settings: "Budget | Mapping[str, Any]") -> "Budget":
        """Create a budget from a group of settings.

        Raises:
            ConfigError: If a setting is unknown or its value cannot be read.
        """
        if isinstance(settings, Budget):
            return settings
        if not isinstance(settings, Mapping):
            raise ConfigError(f"budget={settings!r} should be settings, as in budget.size=1MB.")
        check_keys(settings, field_names(cls), "budget")
        return cls(**settings)

    @property
    def limits(self) -> Needs:
        """The limits in bytes and milliseconds; None for what is not limited."""
        return Needs(
            size=self._limit("size", BYTES, "1MB"),
            latency=self._limit("latency", MILLISECONDS, "2ms"),
            memory=self._limit("memory", BYTES, "80MB"),
        )

    def share(self, needs: Needs) -> float:
        """Return the largest share of a limit that a student uses; at most 1 is within the budget.

        Without a limit of the device it is the size in megabytes, which orders students as well.
        """
        shares = [
            need / limit
            for need, limit in zip(needs, self.limits, strict=True)
            if need is not None and limit is not None
        ]
        if any(limit is not None for limit in self.limits):
            return max(shares, default=0.0)
        return (needs.size or 0.0) / BYTES["mb"]

    def fits(self, needs: Needs) -> bool:
        """Whether a student is within all limits that were measured."""
        is_limited = any(limit is not None for limit in self.limits)
        return not is_limited or self.share(needs) <= 1

    def _limit(self, name: str, units: Mapping[str, float], example: str) -> float | None:
        value = getattr(self, name)
        if value is None:
            return None
        return parse_quantity(f"budget.{name}", value, units, example)
