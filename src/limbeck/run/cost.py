"""The cost of a run's models: ``cost.json`` as records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

from limbeck._base.errors import UntrustedFileError
from limbeck._base.files import write_json
from limbeck.run.folder import RunFolder
from limbeck.run.records import from_json, optional, to_json

SCHEMA = 1
Runtime = Literal["torch", "onnx"]
Precision = Literal["fp32", "int8"]
RUNTIMES: tuple[tuple[Runtime, Precision], ...] = (
    ("torch", "fp32"),
    ("onnx", "fp32"),
    ("onnx", "int8"),
)
"""Every runtime that is measured, with its precision."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The time for one input.

    Attributes:
        median: Median in milliseconds.
        quartiles: First and third quartile in milliseconds.
        runs: Number of runs.
    """

    median: float
    quartiles: tuple[float, float]
    runs: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The speed of a model on some number of cores.

    Attributes:
        latency_ms: Time for one input.
        per_second: Inputs per second, in batches.
    """

    latency_ms: Latency
    per_second: float


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """The cost of one model in one runtime.

    Attributes:
        model: Name of the arm, or "teacher".
        kind: Name of the architecture.
        params: Number of parameters.
        runtime: Library that runs the model.
        precision: Number format of the weights.
        bytes: Size of the model file.
        macs: Multiply-adds for one input.
        memory: Peak memory of the process after one answer, in bytes; None if the system does not
            report it.
        errors: Errors on the test split.
        bits_per_byte: Bits per byte of the test text.
        squared_error: Squared error on the test split, of a regression.
        label_errors: Wrong labels on the test split, of a model of several labels.
        missed_neighbours: Missed neighbours on the test split, of a model of embeddings.
        threads: Timing by number of cores.
    """

    model: str
    kind: str = ""
    params: int
    runtime: Runtime
    precision: Precision
    bytes: int
    macs: float
    memory: float | None = None
    errors: float | None = None
    bits_per_byte: float | None = optional()
    squared_error: float | None = optional()
    label_errors: float | None = optional()
    missed_neighbours: float | None = optional()
    threads: Mapping[str, Timing]

    @property
    def one_core(self) -> Latency:
        """The latency on the smallest number of cores."""
        return self.threads[min(self.threads, key=int)].latency_ms


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The content of ``cost.json``.

    Attributes:
        schema: Version of the file format.
        rows: Cost of each model in each runtime.
        hardware: Hardware of the measuring machine.
        versions: Versions of the packages.
        batch: Batch size for ``per_second``.
    """

    schema: int
    rows: tuple[CostRow, ...]
    hardware: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None

    @property
    def cores(self) -> list[str]:
        """The numbers of cores, in ascending order."""
        return sorted({number for row in self.rows for number in row.threads}, key=int)


def write_cost(folder: RunFolder, cost: Cost) -> None:
    """Write ``cost.json`` of a run."""
    write_json(folder.cost, to_json(cost))


def read_cost(folder: RunFolder) -> Cost | None:
    """Read ``cost.json`` of a run; None if the cost was not measured.

    Raises:
        UntrustedFileError: If the file is damaged.
    """
    if not folder.cost.is_file():
        return None
    try:
        return _parse(folder.read_json(folder.cost), str(folder.cost))
    except UntrustedFileError as error:
        reason = str(error).removeprefix(f"{folder.cost}: ")
        reason = reason.removeprefix(f"{folder.cost} is damaged: ")
        raise UntrustedFileError(
            f"{folder.cost} is damaged: {reason} Measure again with 'limbeck cost'."
        ) from None


def _parse(content: Any, where: str) -> Cost:
    cost = from_json(Cost, content, where=where)
    if cost.schema != SCHEMA:
        raise UntrustedFileError(f"{where}: schema should be {SCHEMA}, found {cost.schema}.")
    if not cost.rows:
        raise UntrustedFileError(f"{where}: rows is empty.")
    for number, row in enumerate(cost.rows):
        _check_row(row, f"{where}: rows[{number}]")
    return cost


def _check_row(row: CostRow, where: str) -> None:
    if (row.runtime, row.precision) not in RUNTIMES:
        raise UntrustedFileError(f"{where}: {row.runtime} {row.precision} is not a runtime.")
    if not row.threads or not all(number.isdecimal() for number in row.threads):
        raise UntrustedFileError(f"{where}.threads should have numbers of cores as its keys.")
    numbers: list[float] = [row.params, row.bytes, row.macs]
    for timing in row.threads.values():
        latency = timing.latency_ms
        numbers += [timing.per_second, latency.median, *latency.quartiles, latency.runs]
    if not all(isfinite(number) and number >= 0 for number in numbers):
        raise UntrustedFileError(f"{where} has a number that is negative or not finite.")
