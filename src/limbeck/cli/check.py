"""``limbeck check``."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck._base.errors import DataError, TeacherError
from limbeck.cli.parsers import add_study_settings, add_verb
from limbeck.cli.run_help import GROUPS_AND_SETTINGS
from limbeck.cli.terminal import say

if TYPE_CHECKING:
    from limbeck.run.finding import Finding

EXIT_CODES = {"data": DataError.exit_code, "teacher": TeacherError.exit_code}
"""Exit codes of reasons to stop, by their subject."""


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck check``."""
    text = "examine data, teacher and losses of a study before anything is trained"
    parser = add_verb(verbs, "check", text, run)
    parser.epilog = GROUPS_AND_SETTINGS
    text = "settings of the study, as for 'limbeck run'; see below"
    add_study_settings(parser, text, prints_settings=False)


def run(arguments: argparse.Namespace) -> int:
    """Examine a study, and print what is found."""
    from limbeck.cli.config.compose import compose
    from limbeck.cli.config.instantiate import build_study, plain_settings

    config = compose(arguments.overrides, arguments.config_dir)
    settings = plain_settings(config, arguments.config_dir)
    with tempfile.TemporaryDirectory() as folder:  # nothing is written to it
        study = build_study(settings, out=Path(folder) / "run")
        findings = study.examine()
    say(table(findings))
    return exit_code(findings)


def table(findings: Sequence["Finding"]) -> str:
    """Format findings: what is wrong, the evidence, and the line that mends it."""
    width = max(len(finding.level) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:{width}}  {finding.subject}: {finding.text}")
        indent = " " * (width + 4)
        if finding.evidence:
            lines.append(f"{indent}{finding.evidence}")
        if finding.remedy:
            lines.append(f"{indent}To mend it: {finding.remedy}")
    return "\n".join(lines)


def exit_code(findings: Sequence["Finding"]) -> int:
    """Return the exit code of the first reason to stop; 0 without one."""
    from limbeck.run.finding import STOP

    for finding in findings:
        if finding.level == STOP:
            return EXIT_CODES[finding.subject]
    return 0
