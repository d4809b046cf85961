"""The results in a terminal: verdict first, then warnings and the table."""

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from limbeck.report import adjusted
from limbeck.report.formats import plural, seconds
from limbeck.report.judged_by import Column, measure_of
from limbeck.report.wording import choice, columns, failures, headlines, result_rows

_COLOURS = {"helps": "green", "hurts": "red", "not shown": "yellow", "none": "cyan"}
_DROPPED_FIRST = ("kl_to_teacher", "seconds", "ece", "nll", "agreement", "accuracy", "perplexity")
_GAP = 2
_SHORTEST_NAME = 44


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print verdicts, warnings and the results table; columns give way where the window is narrow.

    Args:
        summary: the content of ``summary.json``.
        console: where to print; by default standard output, without colour when it is piped.
    """
    console = console or Console(highlight=False)
    plain = _Plain(console)
    for number, (verdict, sentence) in enumerate(headlines(summary)):
        colour = _COLOURS[verdict]
        if number == 0:
            console.print(Panel(plain(sentence, f"bold {colour}"), border_style=colour))
            if choice(summary):
                console.print(plain(choice(summary), "dim"))
        else:
            console.print(_bullet(plain, sentence, colour))
    for arm, seeds, reason in failures(summary):
        console.print(_bullet(plain, f"failed: {arm} ({seeds}): {reason}", "red"))
    for warning in summary.get("warnings") or []:
        console.print(_bullet(plain, f"warning: {warning}", "yellow"))
    console.print()
    shown, left_out = _fitting(summary, console.width)
    console.print(_table(summary, shown, plain))
    console.print(plain(_footing(summary, left_out), "dim"))
    if adjusted.title(summary):
        _print_adjusted(summary, console, plain)


def _print_adjusted(summary: Mapping[str, Any], console: Console, plain: "_Plain") -> None:
    """What constants added to the logits make of it, apart from the results."""
    console.print()
    console.print(plain(f"{adjusted.title(summary)}:", "bold"))
    for verdict, sentence in adjusted.sentences(summary):
        console.print(_bullet(plain, sentence, _COLOURS[verdict]))
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for number, column in enumerate(adjusted.heading(summary)):
        table.add_column(column, overflow="fold", justify="left" if number < 2 else "right")
    for row in adjusted.rows(summary):
        table.add_row(*(plain(cell) for cell in row))
    console.print(table)
    if adjusted.note(summary):
        console.print(plain(adjusted.note(summary), "dim"))


class _Plain:
    """Text as it is, never markup; numbers with an ASCII minus, and all ASCII where the terminal
    needs it.
    """

    def __init__(self, console: Console):
        self.ascii_only = console.options.ascii_only

    def __call__(self, text: str, style: str = "") -> Text:
        text = text.replace("−", "-")
        if self.ascii_only:
            for mark, spelled in (("±", "+-"), ("–", "-"), ("²", "^2")):
                text = text.replace(mark, spelled)
            text = text.encode("ascii", "backslashreplace").decode("ascii")
        return Text(text, style=style)


def _bullet(plain: _Plain, sentence: str, colour: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    grid.add_row(plain("*", colour), plain(sentence, colour))
    return grid


def _fitting(summary: Mapping[str, Any], width: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit into ``width``, and those left out."""
    rows, shown = result_rows(summary), columns(summary)
    sizes = {
        c.key: max([cell_len(_heading(c)), *(cell_len(_narrow(row[c.key])) for row in rows)])
        for c in shown
    }
    name = max((cell_len(row["name"]) for row in rows), default=0)
    left_out: list[Column] = []
    for key in _DROPPED_FIRST:
        needed = (
            max(min(name, _SHORTEST_NAME), 3)
            + sum(sizes.get(c.key, 0) + _GAP for c in shown)
            + _GAP
        )
        if needed <= width:
            break
        left_out += [c for c in shown if c.key == key]
        shown = [c for c in shown if c.key != key]
    return shown, left_out


def _table(summary: Mapping[str, Any], shown: list[Column], plain: _Plain) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("arm", overflow="fold")
    for column in shown:
        table.add_column(_heading(column), justify="right", no_wrap=True)
    best = _best(summary)
    for number, row in enumerate(result_rows(summary)):
        is_teacher = number == 0 and summary["teacher"] is not None
        style = "dim" if is_teacher else "bold" if row["name"] == best else ""
        table.add_row(plain(row["name"]), *(plain(_narrow(row[c.key])) for c in shown), style=style)
    return table


def _heading(column: Column) -> str:
    return f"{column.short} %" if column.kind == "percent" else column.short


def _narrow(text: str) -> str:
    return text.removesuffix(" %")


def _best(summary: Mapping[str, Any]) -> str | None:
    """The arm with the least on the test split; None where there is nothing to choose."""
    measure = measure_of(summary)
    found = [
        (value, arm["name"])
        for arm in summary["arms"]
        if (value := measure.of(arm["mean"])) is not None
    ]
    return min(found, key=lambda pair: pair[0])[1] if len(found) > 1 else None


def _footing(summary: Mapping[str, Any], left_out: list[Column]) -> str:
    seeds = max((len(arm["seeds"]) for arm in summary["arms"]), default=0)
    text = f"{measure_of(summary).tested(summary['data'])} of {summary['data']['name']}"
    text += f", {plural(seeds, 'seed')}" if seeds else ""
    text += f"{' (mean ± sd)' if seeds > 1 else ''}, {seconds(summary['seconds']['total'])} in all."
    if left_out:
        text += f" Left out for width: {', '.join(column.title for column in left_out)}."
    return text
