"""The results in a terminal: the verdict first, then the warnings and the table."""

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from limbeck._base.console import OutputConsole
from limbeck._base.printable import printable, printable_record
from limbeck.evaluation.measure import measure_of
from limbeck.report.adjusted_table import AdjustedTable, adjusted_table
from limbeck.report.formats import seconds, seeds_and_splits
from limbeck.report.measure_wording import wording_of
from limbeck.report.overview import by_how_much, compared
from limbeck.report.results_table import ResultsTable, results_table
from limbeck.report.wording import choice, failures, headlines
from limbeck.report.wording_base import Column
from limbeck.run.summary import Summary

COLOURS = {
    "helps": "green",
    "hurts": "red",
    "equivalent": "green",
    "not worse": "green",
    "not shown": "yellow",
    "none": "cyan",
}
_OPTIONAL_COLUMNS = (
    "kl_to_teacher",
    "seconds",
    "ece",
    "nll",
    "agreement",
    "accuracy",
    "perplexity",
)
"""The columns to drop in a narrow terminal, first to last."""
GAP = 2
_ROOM_FOR_NAMES = 44
"""Names up to this length stay on one line, even if a column must be dropped."""


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Print verdicts, warnings and the results table.

    In a narrow terminal some columns are dropped; the footer names them.

    Args:
        summary: Summary of the study.
        console: Console to print on; standard output by default.
    """
    summary = printable_record(summary)
    console = console or OutputConsole(highlight=False)
    plain = PlainText(console)
    first, *others = headlines(summary)
    colour = COLOURS[first.verdict]
    console.print(Panel(plain(first.text, f"bold {colour}"), border_style=colour))
    main = summary.main_comparison
    if main is not None:
        console.print(plain(f"{by_how_much(main, summary)} {compared(main, summary)}", "dim"))
    if choice(summary):
        console.print(plain(choice(summary), "dim"))
    for verdict, text in others:
        console.print(bullet(plain, text, COLOURS[verdict]))
    for failure in failures(summary):
        text = f"failed: {failure.arm} ({failure.seeds}): {failure.reason}"
        console.print(bullet(plain, text, "red"))
    for warning in summary.warnings:
        console.print(bullet(plain, f"warning: {warning}", "yellow"))
    console.print()
    table = results_table(summary)
    columns = _fitting_columns(table, console.width)
    console.print(_table(summary, table, columns, plain))
    console.print(plain(_footer(summary, table, columns), "dim"))
    adjusted = adjusted_table(summary)
    if adjusted is not None:
        _print_adjusted(adjusted, console, plain)


class PlainText:
    """Plain text without markup, in ASCII if the terminal needs it."""

    def __init__(self, console: Console):
        self._ascii_only = console.options.ascii_only

    def __call__(self, text: str, style: str = "") -> Text:
        """Return the text in a style."""
        text = printable(text).replace("−", "-")
        if self._ascii_only:
            for mark, spelling in (("±", "+-"), ("–", "-"), ("²", "^2")):
                text = text.replace(mark, spelling)
            text = text.encode("ascii", "backslashreplace").decode("ascii")
        return Text(text, style=style)

    def lines(self, parts: Iterable[str]) -> Text:
        """Return parts of a text on lines of their own."""
        return Text("\n").join(self(part) for part in parts)


def bullet(plain: PlainText, sentence: str, colour: str) -> Table:
    """A sentence of a list."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    grid.add_row(plain("*", colour), plain(sentence, colour))
    return grid


def empty_table() -> Table:
    """A table without lines."""
    return Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")


def _print_adjusted(adjusted: AdjustedTable, console: Console, plain: PlainText) -> None:
    console.print()
    console.print(plain(f"{adjusted.title}:", "bold"))
    for verdict, text in adjusted.sentences:
        console.print(bullet(plain, text, COLOURS[verdict]))
    table = empty_table()
    for number, column in enumerate(adjusted.heading):
        table.add_column(column, overflow="fold", justify="left" if number < 2 else "right")
    for row in adjusted.rows:
        table.add_row(*(plain(cell) for cell in row))
    console.print(table)
    if adjusted.note:
        console.print(plain(adjusted.note, "dim"))


# The results table --------------------------------------------------------------------------------


def _fitting_columns(table: ResultsTable, width: int) -> list[Column]:
    """The columns that fit into a terminal of this width."""
    longest = max((cell_len(row["name"]) for row in table.rows), default=0)
    room = width - GAP - max(min(longest, _ROOM_FOR_NAMES), 3)
    columns = list(table.columns)
    for key in _OPTIONAL_COLUMNS:
        if sum(_width(column, table) + GAP for column in columns) <= room:
            break
        columns = [column for column in columns if column.key != key]
    return columns


def _width(column: Column, table: ResultsTable) -> int:
    cells = [_without_unit(row[column.key]) for row in table.rows]
    return max(cell_len(text) for text in (_heading(column), *cells))


def _table(
    summary: Summary, results: ResultsTable, columns: list[Column], plain: PlainText
) -> Table:
    table = empty_table()
    table.add_column("arm", overflow="fold")
    for column in columns:
        table.add_column(_heading(column), justify="right", no_wrap=True)
    best = _best_arm(summary)
    for number, row in enumerate(results.rows):
        cells = [plain(_without_unit(row[column.key])) for column in columns]
        style = ""
        if number == 0 and summary.teacher is not None:
            style = "dim"
        elif row["name"] == best:
            style = "bold"
        table.add_row(plain(row["name"]), *cells, style=style)
    return table


def _heading(column: Column) -> str:
    return f"{column.short} %" if column.kind == "percent" else column.short


def _without_unit(text: str) -> str:
    return text.removesuffix(" %")


def _best_arm(summary: Summary) -> str | None:
    """The best arm on the test split; None with fewer than two results."""
    measure = measure_of(summary)
    values = {arm.name: measure.value(arm.mean) for arm in summary.arms}
    results = {name: value for name, value in values.items() if value is not None}
    if len(results) < 2:
        return None
    return min(results, key=lambda name: results[name])


def _footer(summary: Summary, table: ResultsTable, columns: list[Column]) -> str:
    """The test split, the number of seeds, the duration, and the dropped columns."""
    seeds = max((len(arm.seeds) for arm in summary.arms), default=0)
    parts = [f"{wording_of(summary).test_split(summary.data)} of {summary.data.name}"]
    if seeds:
        spread = " (mean ± sd)" if seeds > 1 else ""
        parts.append(seeds_and_splits(seeds, summary.splits) + spread)
    parts.append(f"{seconds(summary.seconds.total)} in total")
    footer = ", ".join(parts) + "."
    missing = [column.title for column in table.columns if column not in columns]
    if missing:
        footer += f" The terminal is too narrow for: {', '.join(missing)}."
    return footer
