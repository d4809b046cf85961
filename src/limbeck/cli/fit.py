"""``limbeck fit``: the best student for a device, searched for under a budget."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck._base import signals
from limbeck.cli.parsers import add_study_settings, add_verb
from limbeck.cli.run import compose_and_execute
from limbeck.cli.terminal import note, say, text_table

if TYPE_CHECKING:
    from limbeck.data import Dataset
    from limbeck.run.summary import Summary

EPILOG = """\
budget: at least one of these
  budget.size=1MB                  largest exported model
  budget.latency=2ms               longest time for one input on one core
  budget.memory=80MB               largest peak memory; Python and ONNX Runtime need 60 MB of it
  budget.errors=100                the smallest student with at most so many validation errors
  budget.precision=fp32            number format that has to meet the limits: fp32 or int8
  budget.profile=FILE              latency of another device, of 'run.py bench --out FILE' there,
  budget.bundle=BUNDLE             and the bundle that was measured, to compare with this machine

duration:
  trials=64                        students to train in the search
  hours=0.5                        duration of the search; the final study comes on top

what the teacher is worth in bytes:
  wider_controls=[2,3]             controls of two and three times the width in the final study

what the search may choose:
  search.students=[mlp,convnet]    kinds: mlp, convnet, bag, text_cnn, encoder, timm/NAME,
                                   torchvision/NAME (default: those of limbeck that fit the data)
  search.width=[8,64]              smallest and largest width, search.depth likewise
  search.stride=[1,2]              stride of the first convolution
  search.temperature=[1,20]        of the soft targets; search.soft_weight and search.lr likewise
  search.variants=4                students of one architecture in a round, trained together
  search.architectures=2           architectures with variants in a round
  search.pruning=true              a short training first, after which the worse ones are left out
  search.seed=0                    seed of the proposals

All settings of 'limbeck run' on data, teacher, objective, views, training and the run folder are
settings of 'limbeck fit', too. The test split is opened once, for the final study.

examples:
  limbeck fit data=digits budget.size=20kB budget.latency=0.1ms
  limbeck fit recipe=mnist data.download=true teacher.from=RUN budget.size=100kB hours=0.5
  limbeck resume RUN                                     continue an interrupted search
"""
LAST_COLUMNS = 2
"""Number of columns of the front for which only the page has room: multiply-adds, parameters."""


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck fit``."""
    text = "search for the best student within a size, latency or memory, then run its study"
    parser = add_verb(verbs, "fit", text, run)
    parser.epilog = EPILOG
    add_study_settings(parser, "settings, e.g. budget.size=1MB trials=32; see below")
    parser.set_defaults(multirun=False)


def run(arguments: argparse.Namespace) -> int:
    """Compose the settings, search for a student and run its study."""
    from limbeck.cli.config.fit_settings import search_study_settings, split_overrides
    from limbeck.search.study import check_search_libraries

    if not arguments.cfg:
        check_search_libraries()
    rest, search = split_overrides(arguments.overrides)
    return compose_and_execute(
        arguments,
        rest,
        complete=lambda settings: search_study_settings(settings, search),
        finish=finish_search,
    )


def finish_search(summary: "Summary", data: "Dataset", out: Path) -> None:
    """Print the search and the chosen student, and export it.

    Args:
        summary: Summary of the final study.
        data: Dataset of the study.
        out: Run folder.
    """
    from limbeck.cli.export import closing_message
    from limbeck.deploy.export import ExportOptions
    from limbeck.search.bundle import export_choice

    export = shlex.join(["limbeck", "export", str(out)])
    signals.set_advice(lambda: f"The study is finished. Export its student with: {export}")
    say_search(summary, out)
    # of a search that goes on after its bundle was damaged or its students trained again
    result = export_choice(out, data, ExportOptions(overwrite=True))
    say(f"\n{closing_message(result.export)}")
    for warning in result.warnings:
        note(f"warning: {warning}")


def say_search(summary: "Summary", out: Path) -> None:
    """Print the Pareto front of a search, the choice and its price; nothing without a search."""
    from limbeck._base.printable import printable_record
    from limbeck.report.search import front_heading, front_rows, search_sentences
    from limbeck.run.folder import RunFolder
    from limbeck.run.search import read_search

    search = printable_record(read_search(RunFolder(out)))
    if search is None or search.winner is None:
        return
    table = [[title.lower() for title in front_heading(search)]]
    for name, *cells in front_rows(search):
        architecture, is_choice, _ = name.partition("\n")
        table.append([f"{architecture} *" if is_choice else architecture, *cells])
    say("\nPareto front of the search, on validation (* chosen):")
    say(text_table([row[:-LAST_COLUMNS] for row in table], names=2))
    for sentence in search_sentences(search, summary):
        say(f"* {sentence}")
