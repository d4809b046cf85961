"""``limbeck compare``."""

import argparse
from pathlib import Path
from typing import Any

from limbeck.cli.parsers import add_settings, add_verb
from limbeck.cli.terminal import say
from limbeck.cli.verb_settings import Setting, read_settings

SETTINGS = {
    "arm": Setting(
        str, "arm=soft", "arm to compare (default: that of each headline, chosen in validation)"
    ),
    "to": Setting(str, "to=FILE.html", "page to write (default: no page)"),
}


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck compare``."""
    text = "compare runs of one data set by pairs, or rank their arms across data sets"
    parser = add_verb(verbs, "compare", text, run)
    parser.usage = "limbeck compare [-h] RUN RUN [RUN ...] [KEY=VALUE ...]"
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folders of finished runs")
    add_settings(parser, SETTINGS)


def run(arguments: argparse.Namespace) -> int:
    """Compare runs, print the result and write a page."""
    from limbeck._base.errors import ConfigError
    from limbeck.report.runs.compare import compare
    from limbeck.report.runs.page import check_page, write_page
    from limbeck.report.runs.rank import has_one_dataset, rank
    from limbeck.report.runs.read import read_runs
    from limbeck.report.runs.terminal import print_comparison

    words = [*arguments.runs, *arguments.settings]
    paths = [word for word in words if not _is_setting(word)]
    settings = read_settings([word for word in words if _is_setting(word)], SETTINGS)
    arm, page = settings.get("arm"), settings.get("to")
    if page is not None:
        check_page(Path(page))
    runs = read_runs(paths)
    if has_one_dataset(runs):
        result: Any = compare(runs, arm)
    elif arm is not None:
        raise ConfigError(
            "arm= is for runs of one data set. Across data sets, all arms that the runs have in "
            "common are ranked."
        )
    else:
        result = rank(runs)
    if page is not None:
        write_page(result, Path(page))  # first: a reader such as head may close the output early
    print_comparison(result)
    say("page: add to=FILE.html" if page is None else f"page: {page}")
    return 0


def _is_setting(word: str) -> bool:
    """Whether a word is a setting rather than a run, whose path may contain an equals sign."""
    key, equals, _ = word.partition("=")
    return bool(equals) and (key in SETTINGS or (key.isidentifier() and not Path(word).exists()))
