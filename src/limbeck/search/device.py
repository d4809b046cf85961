"""Latency of another device, from a measurement of a bundle there and here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck._base.errors import ConfigError, DataError, UntrustedFileError
from limbeck._base.reading import read_json
from limbeck._base.runtime.bench import FORMAT, bench
from limbeck._base.runtime.errors import RuntimeFailure
from limbeck.report.formats import milliseconds
from limbeck.run.records import from_json
from limbeck.search.budget import Budget

MEASURE = "limbeck bench BUNDLE --out FILE"


@dataclass(frozen=True, kw_only=True)
class Calls:
    """The times of single inputs.

    Attributes:
        median: Median in seconds.
    """

    median: float


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The speed of one model of a bundle.

    Attributes:
        model: Precision of the model, ``fp32`` or ``int8``.
        bytes: Size of the model.
        threads: Number of threads.
        latency: Times of single inputs.
    """

    model: str
    bytes: int
    threads: int
    latency: Calls


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Speed of a bundle on a device, as ``run.py bench --out FILE`` writes it.

    Attributes:
        format: Version of the format.
        name: Name of the bundle.
        device: Facts of the device.
        measurements: Speed of each model on each number of threads.
    """

    format: int
    name: str
    device: Mapping[str, Any] = field(default_factory=dict)
    measurements: tuple[Measurement, ...]

    @property
    def processor(self) -> str:
        """Name of the processor."""
        return str(self.device.get("processor") or "an unknown processor")

    def on_one_thread(self, precision: str) -> Measurement | None:
        """Return the speed of a model on one thread; None if it was not measured."""
        for measurement in self.measurements:
            if measurement.model == precision and measurement.threads == 1:
                return measurement
        return None


@dataclass(frozen=True)
class Device:
    """The device whose latency counts.

    Attributes:
        name: Name of its processor.
        factor: Time that it takes for what takes 1 here.
    """

    name: str
    factor: float = 1.0


def read_profile(path: str | Path) -> Profile:
    """Read the file of ``limbeck bench --out FILE``.

    Raises:
        DataError: If the file is missing or is no such file.
    """
    try:
        content = read_json(Path(path))
    except FileNotFoundError:
        raise DataError(f"budget.profile: {path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"budget.profile: {path} cannot be read ({error}).") from None
    message = (
        f"budget.profile: {path} is no measurement of '{MEASURE}' or 'run.py bench --out FILE'. "
        "Measure a bundle on the device, and name the file."
    )
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(message)
    try:
        profile = from_json(Profile, content, where=str(path))
    except UntrustedFileError:
        raise DataError(message) from None
    if not all(one.latency.median > 0 for one in profile.measurements):
        raise DataError(message)
    return profile


def device_of(budget: Budget) -> Device | None:
    """Return the device of the profile; None for this machine.

    The bundle of the profile is measured here. The device takes longer by the same factor for every
    student: that is exact for none of them, but closer the more alike it is to the bundle's.

    Raises:
        ConfigError: If the profile is one of another bundle or precision.
        DataError: If the profile or the bundle cannot be read.
    """
    if budget.profile is None or budget.bundle is None:
        return None
    profile = read_profile(budget.profile)
    there = profile.on_one_thread(budget.precision)
    if there is None:
        raise ConfigError(
            f"budget.profile: {budget.profile} has no measurement of the {budget.precision} model "
            f"on one thread. Measure it with '{MEASURE} --threads 1', or set budget.precision."
        )
    try:
        content = bench(budget.bundle, threads=[1])
    except RuntimeFailure as error:
        raise DataError(f"budget.bundle: {error}") from None
    local = from_json(Profile, content, where=str(budget.bundle))
    here = local.on_one_thread(budget.precision)
    if here is None or (local.name, here.bytes) != (profile.name, there.bytes):
        size = "no such model" if here is None else f"{here.bytes:,} bytes"
        raise ConfigError(
            f"budget.profile: {budget.profile} measured the {budget.precision} model of "
            f"'{profile.name}' ({there.bytes:,} bytes), but budget.bundle={budget.bundle} is "
            f"'{local.name}' ({size}). Name the bundle that was measured, or measure this one."
        )
    return Device(profile.processor, there.latency.median / here.latency.median)


def describe_device(device: Device) -> str:
    """Describe a device in a sentence."""
    return (
        f"{device.name} takes {device.factor:.3g} times as long as this machine for the bundle "
        f"({milliseconds(device.factor)} there for 1 ms here)."
    )
