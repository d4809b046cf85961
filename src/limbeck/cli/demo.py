"""``limbeck demo``."""

import argparse
import signal
from typing import Any

from limbeck._base import signals
from limbeck.cli.parsers import add_settings, add_trust, add_verb, trust_of
from limbeck.cli.terminal import say
from limbeck.cli.verb_settings import Setting, read_settings

SETTINGS = {
    "port": Setting(int, "port=8000", "port of the page (default: any free port)"),
    "arm": Setting(str, "arm=soft", "arm of the student (default: the best in validation)"),
    "seed": Setting(int, "seed=0", "seed of the student (default: the best in validation)"),
}


def add_parser(verbs: Any) -> None:
    """Add the parser of ``limbeck demo``."""
    text = "serve a local page on which teacher, control and student answer your inputs"
    parser = add_verb(verbs, "demo", text, run, run="folder of a finished run")
    add_settings(parser, SETTINGS)
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until interrupted."""
    from limbeck.cli.config.reopen import open_finished_run
    from limbeck.deploy.demo import Demo
    from limbeck.deploy.demo.page import form_of
    from limbeck.deploy.models_of_run import load_models

    settings = read_settings(arguments.settings, SETTINGS)
    port = settings.pop("port", 0)
    with open_finished_run(arguments.run, trust_of(arguments)) as study:
        form_of(study.data)  # refuses data without a form before models are loaded
        models, note = load_models(
            study.folder, build=study.build, combine=study.combine, **settings
        )
        demo = Demo(models, study.data, port=port, note=note)
    if note:
        say(note)
    say(f"Open {demo.url} in a browser on this machine. Press Ctrl-C to stop.")
    try:
        demo.serve()
    except KeyboardInterrupt:
        if signals.received_signal() == signal.SIGTERM:
            raise
    return 0
