"""``limbeck plan``."""

import argparse
from typing import Any

from limbeck.cli.parsers import add_settings, add_verb
from limbeck.cli.terminal import say
from limbeck.cli.verb_settings import Setting, read_settings

SETTINGS = {
    "effect": Setting(
        str, "effect=10", "difference to show: errors, 0.5% or 10%gap (default: the one seen)"
    ),
    "margin": Setting(
        str, "margin=0.5%", "plan for the verdict that the arm is not worse by this margin"
    ),
    "arm": Setting(str, "arm=soft", "arm whose comparison is planned (default: the headline's)"),
}


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck plan``."""
    text = "estimate from a small run how many seeds and test samples would show a difference"
    parser = add_verb(verbs, "plan", text, run, run="folder of a finished run", reads="results")
    add_settings(parser, SETTINGS)


def run(arguments: argparse.Namespace) -> int:
    """Print the power of larger studies."""
    from limbeck._base.printable import printable_record
    from limbeck.cli.terminal import text_table
    from limbeck.evaluation.plan import plan_study
    from limbeck.report.plan import plan_cost, plan_sentence, plan_table
    from limbeck.run.folder import RunFolder
    from limbeck.run.summary import read_summary

    settings = read_settings(arguments.settings, SETTINGS)
    summary = printable_record(read_summary(RunFolder(arguments.run)))
    plan = plan_study(summary, **settings)
    say(plan_sentence(plan, summary))
    say("")
    say(text_table(plan_table(plan, summary), names=0))
    say("")
    say(plan_cost(summary))
    return 0
