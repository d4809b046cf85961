"""The cost of running the models, as a table."""

from collections.abc import Callable

from limbeck.report.formats import MISSING, bits, count, file_size, milliseconds, nats
from limbeck.run.cost import Cost, Latency

RUNTIME_NAMES = {
    ("torch", "fp32"): "PyTorch",
    ("onnx", "fp32"): "ONNX",
    ("onnx", "int8"): "ONNX int8",
}
"""Names on the page, by runtime and precision."""


_RESULTS: dict[str, tuple[str, Callable[[object], str], str]] = {
    "errors": ("Test errors", count, "the fewest validation errors"),
    "squared_error": ("Squared error", nats, "the smallest squared error on validation"),
    "label_errors": ("Wrong labels", count, "the fewest wrong labels on validation"),
    "missed_neighbours": (
        "Missed neighbours",
        bits,
        "the fewest missed neighbours on validation",
    ),
}
"""Heading and format of the results and words for the best, by the measure of the study."""


def heading(cost: Cost) -> list[str]:
    """The headings of the table."""
    columns = [
        "Model",
        "Runtime",
        _RESULTS[_measure(cost)][0],
        "File size",
        "Multiply-adds",
        "Memory",
    ]
    for number in cost.cores:
        cores = "1 core" if number == "1" else f"{number} cores"
        columns += [f"Latency, {cores}", f"Per second, {cores}"]
    return columns


def rows(cost: Cost) -> list[list[str]]:
    """The rows of the table; the second line of a cell is set in small type."""
    table, measure = [], _measure(cost)
    for row in cost.rows:
        cells = [
            row.model,
            RUNTIME_NAMES[row.runtime, row.precision],
            _RESULTS[measure][1](getattr(row, measure)),
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


def _measure(cost: Cost) -> str:
    """The measure in which the models have a result."""
    for key in _RESULTS:
        if any(getattr(row, key) is not None for row in cost.rows):
            return key
    return "errors"


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
        "represented by its distilled student with "
        f"{_RESULTS[_measure(cost)][2]}."
    )


def _latency(latency: Latency) -> str:
    low, high = (milliseconds(bound).removesuffix(" ms") for bound in latency.quartiles)
    return f"{milliseconds(latency.median)}\n{low} to {high}"


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f}"
