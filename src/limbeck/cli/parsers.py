"""Parts that the parsers of the verbs share."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from limbeck._base.addresses import path_of
from limbeck._base.printable import printable
from limbeck.cli.verb_settings import Setting

if TYPE_CHECKING:
    from limbeck.cli.config.trust import Trust


class Parser(argparse.ArgumentParser):
    """Parser whose messages hold no control characters of the arguments, such as file names."""

    def error(self, message: str) -> NoReturn:
        """Print a message and exit with code 2."""
        super().error(printable(message))


Command = Callable[[argparse.Namespace], int]


def add_verb(
    verbs: Any,
    name: str,
    text: str,
    command: Command,
    *,
    run: str = "",
    reads: str = "results_and_models",
) -> argparse.ArgumentParser:
    """Add the parser of a verb.

    Args:
        verbs: Subparsers of the command line.
        name: Name of the verb.
        text: Description in the imperative, without a full stop.
        command: Function that runs the verb.
        run: Description of the argument ``RUN``; empty for a verb without it.
        reads: Files that the verb reads of a run at an address, the name of a function of
            :mod:`limbeck.run.remote`; ``model`` if it may be a model, too.
    """
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if run:
        parser.add_argument("run", type=path_or_address, metavar="RUN", help=run)
        command = on_copy(command, reads)
    parser.set_defaults(command=command)
    return parser


def path_or_address(text: str) -> Path | str:
    """Return a path, or the address that an argument names."""
    return path_of(text) or text


def on_copy(command: Command, reads: str = "results_and_models") -> Command:
    """Let a verb use the copy of a run at an address, and upload what it writes to the run.

    Args:
        command: Function that runs the verb on the path ``arguments.run``.
        reads: Files that the verb reads, as for :func:`add_verb`.
    """

    def run(arguments: argparse.Namespace) -> int:
        if isinstance(arguments.run, Path):
            return command(arguments)
        from limbeck.run import remote

        if reads == "model":
            arguments.run = remote.local_model(arguments.run)
            return command(arguments)
        address = remote.RemoteRun.at(arguments.run)
        address.fetch(getattr(remote, reads))
        arguments.run = address.folder
        exit_code = command(arguments)
        address.upload_outputs()
        return exit_code

    return run


def add_study_settings(
    parser: argparse.ArgumentParser, text: str, *, prints_settings: bool = True
) -> None:
    """Add the settings ``KEY=VALUE`` of a study, and the options of where they come from.

    Args:
        parser: Parser of a verb.
        text: Description of the settings.
        prints_settings: Whether the verb has the option ``--cfg``.
    """
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=text)
    if prints_settings:
        parser.add_argument("--cfg", choices=["job"], help="print all settings and exit")
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="folder with your own recipes"
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--trust`` of a verb that opens a run folder."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="use what the run folder names besides limbeck's own objects, such as your own "
        "classes, and follow its links: this may run code",
    )


def trust_of(arguments: argparse.Namespace) -> "Trust":
    """Return whether the command line says that its run folder is trusted."""
    from limbeck.cli.config.trust import Trust

    command = shlex.join(["limbeck", *arguments.words, "--trust"])
    return Trust(is_given=arguments.trust, command=command)


def repeat_command(verb: str, run: Path, trust: "Trust", settings: Sequence[str] = ()) -> None:
    """Set the command that the other processes of a distributed run repeat.

    They start in another working directory.
    """
    program = os.path.abspath(sys.argv[0])
    sys.argv = [program, verb, str(run), *settings, *(["--trust"] if trust.is_given else [])]


def add_settings(parser: argparse.ArgumentParser, settings: Mapping[str, Setting]) -> None:
    """Add the settings ``KEY=VALUE`` of a verb, and list them below its help."""
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings, see below")
    width = max(len(setting.example) for setting in settings.values())
    lines = [f"  {setting.example:{width}}  {setting.meaning}" for setting in settings.values()]
    parser.epilog = "\n".join(["settings:", *lines])
