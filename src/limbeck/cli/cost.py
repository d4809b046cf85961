"""``limbeck cost``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck._base.errors import ConfigError
from limbeck._base.printable import printable_record
from limbeck.cli.parsers import add_trust, add_verb, on_copy, path_or_address, trust_of
from limbeck.cli.terminal import note as say_note
from limbeck.cli.terminal import say, text_table

if TYPE_CHECKING:
    from limbeck.data import Dataset
    from limbeck.run.cost import Cost
    from limbeck.run.folder import RunFolder


EPILOG = """\
examples:
  limbeck cost runs/first
  limbeck cost -m data=digits student.hidden=[32],[64,64]    # before anything is trained
"""


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck cost``."""
    text = (
        "measure size, memory and latency of the models of a run, and add them to its report; or "
        "of untrained students"
    )
    parser = add_verb(verbs, "cost", text, run)
    parser.epilog = EPILOG
    parser.add_argument(
        "settings",
        nargs="+",
        metavar="RUN | KEY=VALUE",
        help="folder of a finished run; or settings as for 'limbeck run', for untrained students",
    )
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="sweep settings written as KEY=A,B,C"
    )
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure the models of a run, or untrained students."""
    words: list[str] = arguments.settings
    if len(words) == 1 and ("=" not in words[0] or Path(words[0]).exists()):
        arguments.run = path_or_address(words[0])
        return on_copy(_measure_run)(arguments)
    for word in words:
        if "=" not in word and not word.startswith("~"):  # ~KEY removes a setting
            raise ConfigError(
                f"'limbeck cost' takes one run folder, or settings of the form KEY=VALUE, not "
                f"{word!r} together with others."
            )
    return _measure_untrained(words, multirun=arguments.multirun)


def _measure_untrained(overrides: list[str], *, multirun: bool) -> int:
    """Measure the students of a study before it is run."""
    from limbeck.cli.config.compose import compose
    from limbeck.cli.config.instantiate import build_models, plain_settings
    from limbeck.deploy.untrained_cost import untrained_cost
    from limbeck.models import count_parameters, model_name
    from limbeck.study.arms import build
    from limbeck.study.from_teacher import starts_from_teacher

    settings = plain_settings(compose(overrides, None, multirun=multirun))
    data, builders = build_models(settings)
    for arm, builder in builders.items():
        if starts_from_teacher(builder):
            raise ConfigError(
                f"arms.{arm}: the student starts from its teacher, so its size depends on it. "
                "Run the study, then measure the run."
            )
    if data.kind.outputs == "vectors":
        data = _with_dimensions(data, settings)
    students = {}
    for builder in builders.values():
        student = build(builder, data, seed=0)
        students[model_name(student), count_parameters(student)] = student
    names = [name for name, _ in students]
    result = untrained_cost(
        {
            name if names.count(name) == 1 else f"{name} ({params:,} parameters)": student
            for (name, params), student in students.items()
        },
        data,
    )
    say(cost_table(result))
    return 0


def _with_dimensions(data: "Dataset", settings: dict[str, Any]) -> "Dataset":
    """Return a dataset of embeddings with the number of dimensions of its teacher's vectors."""
    from limbeck.cli.config.instantiate import build_data_and_teacher
    from limbeck.study.embeddings import with_dimensions

    teacher = None
    if settings["teacher"].get("from") is not None:
        _, teacher = build_data_and_teacher(settings)
    return with_dimensions(data, teacher)


def _measure_run(arguments: argparse.Namespace) -> int:
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
