"""``limbeck run``, ``limbeck train`` and ``limbeck distill``."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck._base import signals
from limbeck._base.errors import ConfigError, DivergedError, ResourceError, is_out_of_memory
from limbeck._base.printable import printable_lines
from limbeck._base.version import __version__
from limbeck.cli.os_errors import explain
from limbeck.cli.parsers import add_study_settings, add_verb
from limbeck.cli.run_help import GROUPS_AND_SETTINGS
from limbeck.cli.terminal import fail, note, say
from limbeck.run.folder import RunFolder, default_folder, reserve_folder
from limbeck.run.remote import new_run_folder

if TYPE_CHECKING:
    from limbeck.cli.config.command import Command
    from limbeck.data import Dataset
    from limbeck.run.summary import Summary

Finish = Callable[["Summary", "Dataset", Path], None]
"""Function that a verb calls after a study, with its summary, its dataset and the run folder."""

HELP = {
    "run": "train the teacher, the controls and the distilled students, then compare them",
    "train": "train only the teacher",
    "distill": "train controls and distilled students with an existing teacher (teacher.from=RUN)",
}
MAX_FAILED_ARMS = 3
"""Maximum number of failed arms in the closing message."""


def add_parsers(verbs: Any) -> None:
    """Add the parsers of the three verbs."""
    for verb, text in HELP.items():
        parser = add_verb(verbs, verb, text, run)
        parser.epilog = GROUPS_AND_SETTINGS
        add_study_settings(parser, "settings, e.g. recipe=mnist epochs=60; see below")
        if verb != "train":
            parser.add_argument(
                "-m", "--multirun", action="store_true", help="sweep settings written as KEY=A,B,C"
            )
        parser.set_defaults(multirun=False)


def run(arguments: argparse.Namespace) -> int:
    """Compose the settings, build the study and run it."""
    return compose_and_execute(arguments, arguments.overrides)


def compose_and_execute(
    arguments: argparse.Namespace,
    overrides: Sequence[str],
    complete: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    finish: Finish | None = None,
) -> int:
    """Compose the settings of a study and run it.

    Args:
        arguments: Arguments of the verb.
        overrides: Settings of the study.
        complete: Function that adds settings of the verb to those of the study.
        finish: Function to call after the study; None for a verb that does no more.
    """
    from limbeck.cli.config.compose import compose

    config = compose(overrides, arguments.config_dir, multirun=arguments.multirun)
    if arguments.cfg:
        from omegaconf import OmegaConf

        plain: Any = OmegaConf.to_container(config)
        text = OmegaConf.to_yaml(OmegaConf.create(complete(plain)))
        print(printable_lines(text) if sys.stdout.isatty() else text, end="")
        return 0
    teacher = config.teacher
    is_new = teacher.get("from") is None and teacher.get("answers") is None
    if arguments.verb == "distill" and is_new:
        raise ConfigError(
            "'limbeck distill' needs an existing teacher. Set teacher.from to a run of 'limbeck "
            "train' or to a file of weights, teacher.answers to a file of answers, or train a "
            "teacher first with 'limbeck run'."
        )
    from limbeck.cli.config.instantiate import plain_settings
    from limbeck.cli.config.study_keys import check_settings

    settings = plain_settings(config, arguments.config_dir)
    check_settings(settings)  # before the verb adds keys that only it may write
    settings = complete(settings)
    with _output_folder(settings) as out:
        return execute(settings, out, _command(arguments), finish=finish)


@contextmanager
def _output_folder(settings: Mapping[str, Any]) -> Iterator[Path]:
    """The folder ``out``, or a new folder named after the recipe and the time."""
    from lightning_fabric.utilities import rank_zero_only

    out = settings.get("out")
    default = default_folder(str(settings.get("recipe")))
    is_first_process = getattr(rank_zero_only, "rank", 0) == 0
    if isinstance(out, str):
        yield new_run_folder(out, is_first=is_first_process)
    elif out is not None:
        raise ConfigError(f"out={out!r} should be the path of a folder.")
    elif is_first_process:
        with reserve_folder(default) as folder:
            yield folder
    else:  # it writes to a temporary folder
        yield default


def _command(arguments: argparse.Namespace) -> "Command":
    """Return the command of this process, for the manifest."""
    from limbeck.cli.config.command import Command

    config_dir = arguments.config_dir
    options = ["-m"] if arguments.multirun else []
    if config_dir is not None:
        options += ["--config-dir", str(config_dir)]
    return Command(
        command=shlex.join(["limbeck", arguments.verb, *options, *arguments.overrides]),
        verb=arguments.verb,
        multirun=arguments.multirun,
        overrides=tuple(arguments.overrides),
        config_dir=None if config_dir is None else str(config_dir),
        folder=str(Path.cwd()),
    )


def execute(
    settings: dict[str, Any],
    out: Path,
    command: "Command",
    *,
    record: dict[str, Any] | None = None,
    follow_links: bool = False,
    finish: Finish | None = None,
) -> int:
    """Run a study and print its results.

    Args:
        settings: Settings of the study.
        out: Run folder.
        command: Command that started the run.
        record: Settings that the run folder holds, if the run is resumed; None for a new run.
        follow_links: Whether links in the folder of a resumed run may lead out of it.
        finish: Function to call after the study; None for a verb that does no more.

    Returns:
        The exit code.
    """
    from limbeck.cli.config.instantiate import build_study
    from limbeck.report.terminal import print_summary

    resume = record is not None
    study = build_study(
        settings,
        out=out,
        command=command,
        resume=resume,
        record=record,
        follow_links=follow_links,
    )
    study.check()
    if study.rank == 0:
        action = "resuming" if resume else "results in"
        note(f"limbeck {__version__}: {settings['recipe']}, {action} {out}")
        if settings["sweep"]:
            note(study.size())
    manifest = RunFolder(out.absolute()).manifest

    def how_to_continue() -> str:
        return f"Continue with: {_resume_command(settings, out)}" if manifest.is_file() else ""

    signals.set_advice(how_to_continue)
    try:
        summary = study.fit_teacher() if command.verb == "train" else study.run()
    except OSError as error:
        explanation = explain(error)
        if explanation is None:
            raise
        command_line = _resume_command(settings, out)
        message = f"{explanation.fault}. {explanation.advice}, then continue with: {command_line}"
        return fail(message, explanation.exit_code)
    except DivergedError:
        if study.rank > 0:  # rank 0 prints the message, and a failing peer would kill it
            return 0
        raise
    if study.rank > 0:
        return 0
    print_summary(summary)
    if finish is not None:
        finish(summary, study.data, out)
    say(f"report: {out / 'report.html'}")
    if summary.failed:
        return _report_failed_students(summary)
    return 0


def _resume_command(settings: Mapping[str, Any], out: Path) -> str:
    """Return the command that continues the run, with ``--trust`` if it will be needed."""
    from limbeck.cli.config.groups import choice_names
    from limbeck.cli.config.trust import foreign_settings

    words = ["limbeck", "resume", str(out)]
    if any(foreign_settings(settings, out, choice_names("views"))):
        words.append("--trust")
    return shlex.join(words)


def _report_failed_students(summary: "Summary") -> int:
    """Print the failed students of an otherwise finished study."""
    from limbeck.report.wording import failures

    arms = failures(summary)
    lines = [f"{arm} ({seeds}): {reason}" for arm, seeds, reason in arms[:MAX_FAILED_ARMS]]
    if len(arms) > MAX_FAILED_ARMS:
        lines.append(f"and {len(arms) - MAX_FAILED_ARMS} more arms")
    count = len(summary.failed)
    students = "1 student" if count == 1 else f"{count} students"
    out_of_memory = all(is_out_of_memory(reason) for _, _, reason in arms)
    error = ResourceError if out_of_memory else DivergedError
    return fail(
        f"{students} failed; the report covers all others. {'; '.join(lines)}", error.exit_code
    )
