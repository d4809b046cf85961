"""``limbeck sample``."""

import argparse
from typing import Any

from limbeck.cli.parsers import add_settings, add_trust, add_verb, trust_of
from limbeck.cli.verb_settings import Setting, read_settings

SETTINGS = {
    "tokens": Setting(int, "tokens=200", "number of tokens to generate (default: 200)"),
    "temperature": Setting(
        float, "temperature=0.8", "0 for the most likely token each time (default: 1.0)"
    ),
    "seed": Setting(int, "seed=0", "seed of the random numbers (default: 0)"),
    "arm": Setting(str, "arm=soft", "arm of the student (default: the best in validation)"),
}


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck sample``."""
    text = "generate text with teacher, control and student of a run, side by side"
    parser = add_verb(verbs, "sample", text, run, run="folder of a finished run on text")
    parser.add_argument("prompt", metavar="PROMPT", help="text to continue")
    add_settings(parser, SETTINGS)
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Generate text and print it."""
    from limbeck.cli.config.reopen import open_finished_run
    from limbeck.deploy.sample import SampleOptions, print_samples, sample

    settings = read_settings(arguments.settings, SETTINGS)
    arm = settings.pop("arm", None)
    options = SampleOptions(**settings)
    with open_finished_run(arguments.run, trust_of(arguments)) as study:
        samples = sample(
            study.folder,
            study.data,
            arguments.prompt,
            options,
            arm=arm,
            build=study.build,
            combine=study.combine,
        )
    print_samples(arguments.prompt, samples)
    return 0
