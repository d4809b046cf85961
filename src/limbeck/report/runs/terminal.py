"""A comparison of runs in a terminal."""

from collections.abc import Sequence

from rich.console import Console, JustifyMethod
from rich.panel import Panel

from limbeck._base.console import OutputConsole
from limbeck._base.printable import printable_record
from limbeck.report.formats import break_name
from limbeck.report.page_tables import Table
from limbeck.report.runs import sentences, tables
from limbeck.report.runs.compare import RunsComparison
from limbeck.report.runs.rank import RunsRanking
from limbeck.report.terminal import COLOURS, GAP, PlainText, bullet, empty_table

MAX_SHORT, MIN_NAME = 20, 12
"""Width of a column that is never broken, and smallest width of one that is."""


def print_comparison(result: RunsComparison | RunsRanking, console: Console | None = None) -> None:
    """Print verdicts, tables and remarks.

    Args:
        result: Comparison of runs.
        console: Console to print on; standard output by default.
    """
    result = printable_record(result)
    console = console or OutputConsole(highlight=False)
    if isinstance(result, RunsComparison):
        verdicts, remarks = sentences.headlines(result), sentences.remarks(result)
        results = tables.results(result, without=tables.OPTIONAL)
        content = [results, tables.comparisons(result), tables.differences(result)]
    else:
        verdicts = [sentences.ranking_headline(result)]
        remarks, content = sentences.ranking_remarks(result), [tables.ranks(result)]
    plain = PlainText(console)
    first, *others = verdicts
    colour = COLOURS[first.verdict]
    console.print(Panel(plain(first.text, f"bold {colour}"), border_style=colour))
    for verdict, text in others:
        console.print(bullet(plain, text, COLOURS[verdict]))
    for table in content:
        _print_table(table, console)
    console.print()
    for remark in remarks:
        console.print(plain(remark, "dim"))


def _print_table(table: Table, console: Console) -> None:
    """Print a table of the page; the second line of a cell follows in brackets."""
    plain = PlainText(console)
    grid = empty_table()
    for number, title in enumerate(table.heading):
        justify: JustifyMethod = "right" if number in table.numeric else "left"
        grid.add_column(
            plain(title),
            justify=justify,
            overflow="fold",
        )
    rows = [[_on_one_line(cell) for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(table.heading, *rows, strict=True)]
    room = _room_for_names(widths, console.width)
    for row in rows:
        grid.add_row(*(plain.lines(break_name(cell, room)) for cell in row))
    console.print()
    console.print(grid)


def _room_for_names(widths: Sequence[int], width: int) -> int:
    """The width of a column with long names, so that the table fits into the terminal."""
    names = [column for column in widths if column > MAX_SHORT]
    others = sum(widths) - sum(names) + GAP * len(widths)
    return max(MIN_NAME, (width - others) // max(len(names), 1))


def _on_one_line(cell: str) -> str:
    text, _, small = cell.partition("\n")
    return f"{text} ({small})" if small else text
