"""What models cost to run: the table of ``cost.json``, and errors or bits per byte against size and
latency.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from limbeck._base.errors import UntrustedFileError
from limbeck.report.figures.axes import Drawn, frame, name_height
from limbeck.report.figures.drawing import (
    COLOURS,
    INK,
    TEACHER,
    canvas,
    drawing,
    legend,
    only_grid,
    to_svg,
)
from limbeck.report.formats import MISSING, count, known
from limbeck.report.judged_by import measure_of
from limbeck.run.folder import RunFolder

SCHEMA = 1
_NAMES = {("torch", "fp32"): "PyTorch", ("onnx", "fp32"): "ONNX", ("onnx", "int8"): "ONNX int8"}
_MARKERS = {("torch", "fp32"): "s", ("onnx", "fp32"): "o", ("onnx", "int8"): "v"}


def read_cost(folder: RunFolder) -> dict[str, Any] | None:
    """``cost.json`` of a run, checked; None if it was not measured.

    Raises:
        UntrustedFileError: it is damaged.
    """
    if not folder.cost.is_file():
        return None
    content = folder.read_json(folder.cost)
    try:
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r} is not {SCHEMA}")
        if not content["rows"]:
            raise ValueError("it has no rows")
        if not all(isinstance(content.get(key, {}), dict) for key in ("hardware", "versions")):
            raise ValueError("hardware and versions should be objects")
        for row in content["rows"]:
            _NAMES[row["runtime"], row["precision"]], row["model"]
            numbers = [row["params"], row["bytes"], row["macs"]]
            for threads, measured in row["threads"].items():
                int(threads)
                latency = measured["latency_ms"]
                numbers += [
                    latency["median"],
                    *latency["quartiles"],
                    measured["per_second"],
                    latency["runs"],
                ]
            if not row["threads"] or not all(known(number) and number >= 0 for number in numbers):
                raise ValueError("a number is missing")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UntrustedFileError(
            f"{folder.cost} is damaged: {reason}. Measure again with 'limbeck cost'."
        ) from None
    return content


def heading(cost: Mapping[str, Any]) -> list[str]:
    """The columns of the table."""
    threads = _threads(cost)
    timed = [
        f"{what}, {_cores(number)}" for number in threads for what in ("Latency", "Per second")
    ]
    return ["Model", "Runs in", "Test errors", "File", "Multiply-adds", "Memory", *timed]


def rows(cost: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table; what stands behind the end of a line in a cell is small print."""
    found = []
    for row in cost["rows"]:
        cells = [
            row["model"],
            _NAMES[row["runtime"], row["precision"]],
            count(row.get("errors")),
            size(row["bytes"]),
        ]
        cells += [_large(row["macs"]), size(row.get("memory"))]
        for number in _threads(cost):
            measured = row["threads"].get(number)
            latency = None if measured is None else measured["latency_ms"]
            cells.append(
                MISSING
                if latency is None
                else _milliseconds(latency["median"], latency["quartiles"])
            )
            cells.append(MISSING if measured is None else f"{measured['per_second']:,.0f}")
        found.append(cells)
    return found


def note(cost: Mapping[str, Any]) -> str:
    """How it was measured, in a sentence or two."""
    hardware, versions = cost.get("hardware") or {}, cost.get("versions") or {}
    runs = min(m["latency_ms"]["runs"] for row in cost["rows"] for m in row["threads"].values())
    return (
        f"Latency: one input, median and quartiles of at least {runs:,} runs, all models in turn. "
        "Per second: in "
        f"batches of {cost.get('batch')}. Memory: the most its process held after one answer, "
        "libraries included. On "
        f"{hardware.get('cpu') or 'a processor'}, torch {versions.get('torch')}. Of each "
        "architecture the student with "
        "the fewest validation errors."
    )


def size(value: Any) -> str:
    """``457 kB``, ``5.1 MB``."""
    if not known(value):
        return MISSING
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            shown = value / unit
            return f"{shown:.1f} {name}" if shown < 10 else f"{shown:,.0f} {name}"
    return f"{value:.0f} B"


def figure(cost: Mapping[str, Any], summary: Mapping[str, Any]) -> Drawn | None:
    """Results against the size of the file and against latency on one core; None without results to
    show.
    """
    measure = measure_of(summary)
    measured = [row for row in cost["rows"] if known(row.get(measure.key))]
    names = list(dict.fromkeys(row["model"] for row in measured))
    if not names:
        return None
    colours = dict(
        zip([name for name in names if name != "teacher"], COLOURS * len(names), strict=False)
    )
    colours["teacher"] = TEACHER
    with drawing():
        drawn = canvas(3.2)
        left, right = drawn.subplots(1, 2, sharey=True)
        for row in measured:
            marker, colour = _MARKERS[row["runtime"], row["precision"]], colours[row["model"]]
            value, latency = row[measure.key], next(iter(row["threads"].values()))["latency_ms"]
            if row["runtime"] == "onnx":
                _point(left, row["bytes"], value, marker, colour)
            low, high = latency["quartiles"]
            right.hlines(value, low, high, color=colour, linewidth=1.4, alpha=0.7)
            _point(right, latency["median"], value, marker, colour)
        for axes, title, formatter in (
            (left, "size of the file", size),
            (right, "latency on one core", _ms),
        ):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
            axes.xaxis.set_major_formatter(
                FuncFormatter(lambda value, _, formatter=formatter: formatter(value))
            )
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.margins(x=0.15)
            axes.set_xlabel(title)
            only_grid(axes, "y")
        frame(left, [row[measure.key] for row in measured], measure)
        name_height(left, measure, summary["data"])
        handles = [
            Line2D([], [], marker="o", linestyle="none", color=colours[name]) for name in names
        ]
        ways = [
            way
            for way in _NAMES
            if any((row["runtime"], row["precision"]) == way for row in measured)
        ]
        handles += [
            Line2D([], [], marker=_MARKERS[way], linestyle="none", color=INK, fillstyle="none")
            for way in ways
        ]
        legend(drawn, handles, [*names, *(_NAMES[way] for way in ways)])
        svg = to_svg(drawn, "cost", f"{measure.title} against file size and latency of each model")
    title = f"{measure.noun.capitalize()} against size and latency"
    return Drawn(title, svg, "Bars: quartiles of the latency. Lower left is better in both panels.")


def _point(axes: Axes, x: float, y: float, marker: str, colour: str) -> None:
    axes.plot([x], [y], marker, color=colour, markersize=7, markeredgecolor="white", zorder=3)


def _threads(cost: Mapping[str, Any]) -> Sequence[str]:
    return sorted({number for row in cost["rows"] for number in row["threads"]}, key=int)


def _cores(number: str) -> str:
    return "1 core" if number == "1" else f"{number} cores"


def _milliseconds(middle: float, quartiles: Sequence[float]) -> str:
    low, high = (_digits(value) for value in quartiles)
    return f"{_digits(middle)} ms\n{low} to {high}"


def _ms(value: float) -> str:
    return f"{value:.3g} ms"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _large(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f}"
