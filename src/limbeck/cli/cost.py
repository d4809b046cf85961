"""``limbeck cost``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck._base.printable import printable_record
from limbeck.cli.parsers import add_trust, add_verb, trust_of
from limbeck.cli.terminal import note as say_note
from limbeck.cli.terminal import say, text_table

if TYPE_CHECKING:
    from limbeck.run.cost import Cost
    from limbeck.run.folder import RunFolder


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck cost``."""
    text = "measure size, memory and latency of the models of a run, and add them to its report"
    add_trust(add_verb(verbs, "cost", text, run, run="folder of a finished run"))


def run(arguments: argparse.Namespace) -> int:
    """Measure the models of a run."""
    from limbeck.cli.config.reopen import open_finished_run
    from limbeck.deploy.run_cost import RESULTS, cost

    def check(folder: "RunFolder") -> None:
        folder.check_writable(RESULTS)

    with open_finished_run(arguments.run, trust_of(arguments), check) as study:
        result = cost(study.folder, study.data, build=study.build, combine=study.combine)
    say(cost_table(result))
    if _lacks_teacher(result, arguments.run):
        say_note(
            "The teacher is not measured: it is an estimator or a function, which cannot be "
            "exported to ONNX."
        )
    say(f"report: {arguments.run / 'report.html'}")
    return 0


def _lacks_teacher(result: "Cost", run: Path) -> bool:
    """Whether a run has a teacher that was not measured, other than a file of answers."""
    from limbeck.run.folder import RunFolder
    from limbeck.run.summary import read_summary

    summary = read_summary(RunFolder(run))
    has_model = summary.teacher is not None and summary.answers is None
    return has_model and all(row.model != "teacher" for row in result.rows)


def cost_table(cost: "Cost") -> str:
    """Format the costs as a table."""
    from limbeck.report.cost import heading, note, rows

    cost = printable_record(cost)
    table = [heading(cost)]
    for row in rows(cost):
        table.append([cell.partition("\n")[0] for cell in row])
    return f"{text_table(table, names=2)}\n{note(cost)}"
