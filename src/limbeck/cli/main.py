"""Entry point of the command line: parser, dispatch and exit codes.

Verb modules import what they need inside their functions, so that ``limbeck --help`` and the verbs
that only read files start without PyTorch.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from limbeck._base import peers, signals
from limbeck._base.errors import ConfigError, LimbeckError, ResourceError, is_memory_error
from limbeck._base.matplotlib_import import import_matplotlib
from limbeck._base.version import __version__
from limbeck.cli import (
    answers,
    bundle,
    check,
    compare,
    cost,
    demo,
    export,
    fit,
    plan,
    recipes,
    report,
    resume,
    run,
    runs,
    sample,
    store,
)
from limbeck.cli import open as open_report
from limbeck.cli.os_errors import explain, system_error_in
from limbeck.cli.parsers import Parser
from limbeck.cli.terminal import (
    announce_start,
    escape_unencodable_characters,
    fail,
    ignore_empty_size,
    show_warnings_in_one_line,
)

DESCRIPTION = (
    "Knowledge distillation for PyTorch. limbeck also trains the control and tells you whether "
    "distillation made your small model better."
)
EPILOG = """\
examples:
  limbeck run                                            digits study, under a minute
  limbeck run recipe=mnist data.download=true            Hinton et al. 2015 on MNIST
  limbeck run objective.temperature=8 seeds=10           change any setting by its name
  limbeck run -m objective.temperature=1,4,20            sweep: one arm for each value, one report
  limbeck train recipe=cifar10 data.download=true        train only the teacher
  limbeck distill recipe=cifar10 teacher.from=RUN        train students with the teacher of a run
  limbeck run student=torchvision/resnet18               any model of torchvision or timm
  limbeck fit budget.size=20kB                           best student of at most 20 kB
  limbeck check data=image_folder data.root=photos       examine data and teacher before a run
  limbeck run --cfg job                                  print all settings and exit
  limbeck plan RUN                                       seeds that a verdict would need
  limbeck open RUN                                       open the report in the browser
  limbeck compare RUN RUN                                compare runs of one data set
  limbeck export RUN                                     export the best student, no PyTorch needed
  limbeck answers RUN to=answers.csv                     write the teacher's answers to a file
  limbeck sample RUN "The "                              generate text with the models of a run
  limbeck predict BUNDLE photo.png                       classify an image with an exported student

exit codes: 0 success, 2 configuration, 3 data, 4 teacher, 5 training diverged, 6 disk, memory,
network or missing library, 7 untrusted or damaged file, 8 exported model differs, 129, 130
or 143 interrupted
"""

SLOW_START = {
    *("run", "train", "distill", "fit", "check", "resume"),
    *("export", "cost", "demo", "sample", "answers"),
}
"""Verbs that import PyTorch, which takes seconds."""
DRAWS = SLOW_START | {"report"}
"""Verbs that import Matplotlib, some of them only through Lightning."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Errors that users can fix end in one message and an exit code, without a traceback.

    Args:
        argv: Words of the command line, without the program's name.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in bundle.HELP:
        return bundle.run(words)
    arguments = _parse(words)
    _prepare_process()
    prints_settings = bool(getattr(arguments, "cfg", None))
    if arguments.verb in SLOW_START and not prints_settings:
        announce_start()
    try:
        _check_working_directory()
        if arguments.verb in DRAWS and not prints_settings:
            import_matplotlib(with_settings=False)
        return arguments.command(arguments)
    except BaseException as error:
        if not _reports(error):
            return _silent_exit_code(error)
        # Libraries turn an interrupt into errors of their own, so the flag decides.
        if isinstance(error, KeyboardInterrupt) or signals.received_signal() is not None:
            return fail(signals.interrupt_message(), signals.exit_code())
        exit_code = _explain(error)
        if exit_code is None:
            raise
        return exit_code
    finally:
        signals.set_advice(str)  # the next command in this process gives its own


def _reports(error: BaseException) -> bool:
    """Whether this process reports an error, which other processes of a training may have, too."""
    if peers.is_first():
        peers.end_children()
        return True
    if isinstance(error, peers.LostProcessError):
        return peers.reports_loss()
    if isinstance(error, KeyboardInterrupt) or signals.received_signal() is not None:
        return False
    time.sleep(peers.REPORT_SECONDS)  # in which the first process ends this one
    return True


def _silent_exit_code(error: BaseException) -> int:
    return error.exit_code if isinstance(error, LimbeckError) else signals.exit_code()


def parsers() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command line, and the parser of each verb by its name."""
    parser = Parser(
        "limbeck",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"limbeck {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    run.add_parsers(verbs)
    fit.add_parser(verbs)
    after_run = (resume, report, open_report, runs, plan, compare, export, cost, demo, sample)
    for module in (check, *after_run, answers):
        module.add_parser(verbs)
    bundle.add_parsers(verbs)
    store.add_parser(verbs)
    recipes.add_parser(verbs)
    return parser, verbs.choices


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser, verbs = parsers()
    if not words or words[0] not in verbs:
        return parser.parse_args(words)
    verb, *rest = words
    namespace = argparse.Namespace(verb=verb, words=words)
    if "--" in rest:  # which the other method forgets: a folder -x after it would be an option
        return verbs[verb].parse_args(rest, namespace)
    # Unlike a subparser, this accepts settings on both sides of an option.
    return verbs[verb].parse_intermixed_args(rest, namespace)


def _prepare_process() -> None:
    show_warnings_in_one_line()
    ignore_empty_size()
    escape_unencodable_characters()


def _check_working_directory() -> None:
    """Check the working directory before PyTorch is imported, which crashes without one."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ConfigError(
            "The working directory no longer exists. Change to another folder."
        ) from None


def _explain(error: BaseException) -> int | None:
    """Print what is wrong and what to do. Returns the exit code, or None for any other error."""
    if isinstance(error, LimbeckError):
        return fail(str(error), error.exit_code)
    if is_memory_error(error):
        reason = " ".join(str(error).split())[:200]
        advice = "Lower batch_size or seeds."
        if isinstance(error, ImportError):
            advice = "Close other programs, or raise the limit ('ulimit -v')."
        message = f"Memory ran out{f' ({reason})' if reason else ''}. {advice}"
        return fail(message, ResourceError.exit_code)
    if isinstance(error, BrokenPipeError):
        _discard_output()
        return 0
    system_error = system_error_in(error)
    return _explain_os_error(system_error) if system_error is not None else None


def _discard_output() -> None:
    """Let the interpreter flush standard output at exit although its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain_os_error(error: OSError) -> int | None:
    """Explain a failed file operation. Returns the exit code, or None for any other error."""
    explanation = explain(error)
    if explanation is None:
        return None
    again = " and try again" if explanation.exit_code == ResourceError.exit_code else ""
    return fail(f"{explanation.fault}. {explanation.advice}{again}.", explanation.exit_code)
