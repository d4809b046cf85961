"""The cost of running the models: ``cost.json`` as records and as a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limbeck._base.errors import UntrustedFileError
from limbeck.report.formats import MISSING, count, file_size, is_number
from limbeck.run.folder import RunFolder
from limbeck.run.records import from_json

SCHEMA = 1
RUNTIMES = {"torch fp32": "PyTorch", "onnx fp32": "ONNX", "onnx int8": "ONNX int8"}
"""Names of the runtimes on the page, by runtime and precision."""


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
        runtime: Library that runs the model.
        precision: Number format of the weights.
        params: Number of parameters.
        bytes: Size of the model file.
        macs: Multiply-adds for one input.
        memory: Peak memory of the process in bytes.
        errors: Errors on the test split.
        bits_per_byte: Bits per byte of the test text.
        threads: Timing by number of cores.
    """

    model: str
    runtime: Literal["torch", "onnx"]
    precision: Literal["fp32", "int8"]
    params: int
    bytes: int
    macs: float
    memory: float | None = None
    errors: float | None = None
    bits_per_byte: float | None = None
    threads: Mapping[str, Timing]

    @property
    def runtime_key(self) -> str:
        """Runtime and precision, a key of :data:`RUNTIMES`."""
        return f"{self.runtime} {self.precision}"

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


def read_cost(folder: RunFolder) -> Cost | None:
    """Read ``cost.json`` of a run; None if the cost was not measured.

    Raises:
        UntrustedFileError: If the file is damaged.
    """
    if not folder.cost.is_file():
        return None
    try:
        return parse_cost(folder.read_json(folder.cost), where=str(folder.cost))
    except UntrustedFileError as error:
        reason = str(error).removeprefix(f"{folder.cost}: ")
        reason = reason.removeprefix(f"{folder.cost} is damaged: ")
        raise UntrustedFileError(
            f"{folder.cost} is damaged: {reason} Measure again with 'limbeck cost'."
        ) from None


def parse_cost(content: Any, *, where: str = "cost.json") -> Cost:
    """Build the records from the parsed JSON.

    Args:
        content: Parsed JSON.
        where: Name of the file, for messages.

    Raises:
        UntrustedFileError: If a key is missing or has a wrong value, or the schema is unknown.
    """
    cost = from_json(Cost, content, where=where)
    if cost.schema != SCHEMA:
        raise UntrustedFileError(f"{where}: schema should be {SCHEMA}, found {cost.schema}.")
    if not cost.rows:
        raise UntrustedFileError(f"{where}: rows is empty.")
    for number, row in enumerate(cost.rows):
        _check_row(row, f"{where}: rows[{number}]")
    return cost


def _check_row(row: CostRow, where: str) -> None:
    if row.runtime_key not in RUNTIMES:
        raise UntrustedFileError(f"{where}: {row.runtime_key} is not a known runtime.")
    if not row.threads or not all(number.isdecimal() for number in row.threads):
        raise UntrustedFileError(f"{where}.threads should have numbers of cores as its keys.")
    numbers: list[float] = [row.params, row.bytes, row.macs]
    for timing in row.threads.values():
        latency = timing.latency_ms
        numbers += [timing.per_second, latency.median, *latency.quartiles, latency.runs]
    if not all(is_number(number) and number >= 0 for number in numbers):
        raise UntrustedFileError(f"{where} has a number that is negative or not finite.")


# The table ----------------------------------------------------------------------------------------


def heading(cost: Cost) -> list[str]:
    """The headings of the table."""
    columns = ["Model", "Runtime", "Test errors", "File size", "Multiply-adds", "Memory"]
    for number in cost.cores:
        cores = "1 core" if number == "1" else f"{number} cores"
        columns += [f"Latency, {cores}", f"Per second, {cores}"]
    return columns


def rows(cost: Cost) -> list[list[str]]:
    """The rows of the table; the second line of a cell is set in small type."""
    table = []
    for row in cost.rows:
        cells = [
            row.model,
            RUNTIMES[row.runtime_key],
            count(row.errors),
            file_size(row.bytes),
            _short(row.macs),
            file_size(row.memory),
        ]
        for number in cost.cores:
            timing = row.threads.get(number)
            if timing is None:
                cells += [MISSING, MISSING]
            else:
                cells += [_latency(timing.latency_ms), f"{timing.per_second:,.0f}"]
        table.append(cells)
    return table


def note(cost: Cost) -> str:
    """Describe how the numbers of the table were measured."""
    timings = [timing for row in cost.rows for timing in row.threads.values()]
    runs = min(timing.latency_ms.runs for timing in timings)
    processor = cost.hardware.get("cpu") or "an unknown processor"
    return (
        f"Latency is the time for one input: median and quartiles of at least {runs:,} runs, in "
        f"which the models take turns. Per second counts inputs in batches of {cost.batch}. Memory "
        "is the peak of a process that loads the model and answers once, libraries included. "
        f"Measured on {processor} with torch {cost.versions.get('torch')}. Each architecture is "
        "represented by its student with the fewest validation errors."
    )


def _latency(latency: Latency) -> str:
    low, high = (_two_digits(bound) for bound in latency.quartiles)
    return f"{_two_digits(latency.median)} ms\n{low} to {high}"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f}"
