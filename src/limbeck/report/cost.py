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
    measure = _measure(cost)
    results = [] if measure is None else [_RESULTS[measure][0]]
    columns = ["Model", "Runtime", *results, "File size", "Multiply-adds", "Memory"]
    for number in cost.cores:
        cores = "1 core" if number == "1" else f"{number} cores"
        columns += [f"Latency, {cores}", f"Per second, {cores}"]
    return columns


def rows(cost: Cost) -> list[list[str]]:
    """The rows of the table; the second line of a cell is set in small type."""
    table, measure = [], _measure(cost)
    for row in cost.rows:
        cells = [row.model, RUNTIME_NAMES[row.runtime, row.precision]]
        if measure is not None:
            cells.append(_RESULTS[measure][1](getattr(row, measure)))
        cells += [file_size(row.bytes), _short(row.macs), file_size(row.memory)]
        for number in cost.cores:
            timing = row.threads.get(number)
            if timing is None:
                cells += [MISSING, MISSING]
            else:
                cells += [_latency(timing.latency_ms), f"{timing.per_second:,.0f}"]
        table.append(cells)
    return table


def _measure(cost: Cost) -> str | None:
    """The measure in which the models have a result; None for untrained ones."""
    for key in _RESULTS:
        if any(getattr(row, key) is not None for row in cost.rows):
            return key
    return None


def note(cost: Cost) -> str:
    """Describe how the numbers of the table were measured."""
    timings = [timing for row in cost.rows for timing in row.threads.values()]
    runs = min(timing.latency_ms.runs for timing in timings)
    processor = cost.hardware.get("cpu") or "an unknown processor"
    measure = _measure(cost)
    if measure is None:
        models = "The models are untrained. Training changes none of these numbers."
    else:
        models = (
            "Each architecture is represented by its distilled student with "
            f"{_RESULTS[measure][2]}."
        )
    return (
        f"Latency is the time for one input: median and quartiles of at least {runs:,} runs, in "
        f"which the models take turns. Per second counts inputs in batches of {cost.batch}. Memory "
        "is the peak of a process that loads the model and answers once, libraries included. "
        f"Measured on {processor} with torch {cost.versions.get('torch')}. {models}"
    )


def _latency(latency: Latency) -> str:
    low, high = (milliseconds(bound).removesuffix(" ms") for bound in latency.quartiles)
    return f"{milliseconds(latency.median)}\n{low} to {high}"


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f}"
