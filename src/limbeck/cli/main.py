"""The command line: verbs, Hydra's overrides, and one message for everything a user can mend."""

import argparse
import errno
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from limbeck._base.errors import (
    ConfigError,
    DivergedError,
    LimbeckError,
    LimbeckWarning,
    ResourceError,
    is_out_of_memory,
)
from limbeck._base.version import __version__

_python_warning = warnings.formatwarning
DESCRIPTION = "Knowledge distillation for PyTorch, with the control beside it: does distilling make your small model better?"
EPILOG = """\
examples:
  limbeck run                                            the digits study, under a minute
  limbeck run recipe=mnist data.download=true            Hinton et al. 2015 on MNIST
  limbeck run objective.temperature=8 seeds=10           any setting, by its name
  limbeck run -m objective.temperature=1,4,20            several values: arms of one study
  limbeck train recipe=cifar10 data.download=true        the teacher alone
  limbeck distill recipe=cifar10 teacher.from=RUN        students from a teacher that is there
  limbeck run student=torchvision/resnet18               any model of torchvision or timm
  limbeck run --cfg job                                  show all settings and stop
  limbeck export RUN                                     the best student as a folder that runs without PyTorch
  limbeck sample RUN "The "                              what teacher, control and student write (text)
  limbeck predict BUNDLE photo.png                       what it says of an image

exit codes: 0 done, 2 configuration, 3 data, 4 teacher, 5 training diverged, 6 disk, memory or network,
7 untrusted or damaged file, 8 exported model differs, 130 or 143 interrupted
"""


RUNTIME = {
    "verify": "check a bundle's files, and its answers on this device",
    "predict": "classify images with a bundle",
}
"""Verbs that need neither PyTorch nor anything else of limbeck."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        "limbeck",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"limbeck {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in (
        ("run", "train the teacher, the controls and the distilled students; compare; report"),
        ("train", "train the teacher alone"),
        (
            "distill",
            "train the controls and the distilled students from a teacher that is there "
            "(teacher.from=RUN)",
        ),
    ):
        added = verbs.add_parser(verb, help=text, description=text)
        added.add_argument(
            "overrides",
            nargs="*",
            metavar="KEY=VALUE",
            help="settings, as in recipe=mnist epochs=60",
        )
        added.add_argument("--cfg", choices=["job"], help="print the composed settings and stop")
        added.add_argument(
            "--config-dir", type=Path, metavar="DIR", help="a folder with recipes of your own"
        )
        if verb != "train":
            added.add_argument(
                "-m", "--multirun", action="store_true", help="sweep settings given as KEY=A,B,C"
            )
    resume = verbs.add_parser("resume", help="go on with a run that was interrupted")
    resume.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="your run folder; its settings are used as you gave them",
    )
    report = verbs.add_parser("report", help="write a run's report.html anew and print its table")
    report.add_argument("run", type=Path, metavar="RUN", help="a finished run folder")
    export = verbs.add_parser(
        "export", help="make the best student of a run a bundle: ONNX, checked, without PyTorch"
    )
    export.add_argument("run", type=Path, metavar="RUN", help="your finished run folder")
    export.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="as in to=FOLDER arm=soft seed=0 int8=false",
    )
    cost = verbs.add_parser(
        "cost", help="size, memory and latency of a run's models, into its report"
    )
    cost.add_argument("run", type=Path, metavar="RUN", help="your finished run folder")
    demo = verbs.add_parser(
        "demo", help="a page on this machine: teacher, control and student answer to a drawing"
    )
    demo.add_argument("run", type=Path, metavar="RUN", help="your finished run folder")
    demo.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="as in port=8000 arm=soft seed=0"
    )
    sample = verbs.add_parser(
        "sample", help="let teacher, control and student of a run on text write, side by side"
    )
    sample.add_argument("run", type=Path, metavar="RUN", help="your finished run folder")
    sample.add_argument("prompt", metavar="PROMPT", help="text to go on with")
    sample.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="as in tokens=200 temperature=0.8 seed=0"
    )
    for verb, text in RUNTIME.items():
        verbs.add_parser(verb, help=text, add_help=False)
    store = verbs.add_parser("store", help="list, verify or clear the stores of teachers' answers")
    store.add_argument("action", choices=["list", "verify", "clear"], help="what to do")
    store.add_argument(
        "keys", nargs="*", metavar="KEY", help="a store, by its key or the beginning of it"
    )
    store.add_argument("--all", action="store_true", help="clear every store")
    store.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the stores are, if not in the usual place"
    )
    recipes = verbs.add_parser("recipes", help="list the recipes")
    recipes.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="a folder with recipes of your own"
    )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; print one message and return an exit code for whatever the user can mend."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in RUNTIME:
        from limbeck._base import bundle_runtime as runtime

        return runtime.main(argv, program="limbeck", inside=False)
    top = parser()
    arguments, left = top.parse_known_args(argv)
    if (
        left and hasattr(arguments, "keys") and all(word[:1] != "-" for word in left)
    ):  # keys behind an option
        arguments.keys, left = [*arguments.keys, *left], []
    if left and not (hasattr(arguments, "overrides") and all(_is_override(word) for word in left)):
        top.error(f"unrecognized arguments: {' '.join(left)}")
    if left:  # settings behind an option
        arguments.overrides += left
    if "OMP_WAIT_POLICY" not in os.environ:
        # Waiting threads should not spin for long: beside other work that costs several times the
        # time (docs/log.md).
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    warnings.formatwarning = _warning
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return VERBS[arguments.verb](arguments)
    except LimbeckError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted.", 130)
    except MemoryError:
        return _fail("memory ran out. Lower batch_size, or seeds.", ResourceError.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(
                f"the disk is full: {error}. Free some space and resume the run.",
                ResourceError.exit_code,
            )
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
            return _fail(
                f"{error.filename} cannot be made a folder: {error.strerror}.",
                ConfigError.exit_code,
            )
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            return _fail(
                f"permission denied: {error.filename}. Name another folder with out=.",
                ConfigError.exit_code,
            )
        raise


def _fail(message: str, code: int) -> int:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text("error: ", style="bold red") + Text(message))
    return code


def _warning(message: Warning | str, category: type[Warning], *where: Any, **line: Any) -> str:
    """A warning of limbeck's own in one line, any other as Python has it."""
    if issubclass(category, LimbeckWarning):
        return f"warning: {message}\n"
    return _python_warning(message, category, *where, **line)


def _is_override(word: str) -> bool:
    return word[:1] == "~" or ("=" in word and word[0] != "-")


def _terminate(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)


# Verbs --------------------------------------------------------------------------------------------


def run_study(arguments: argparse.Namespace) -> int:
    """``limbeck run``, ``limbeck train`` and ``limbeck distill``."""
    from limbeck.cli.config.compose import compose

    multirun = getattr(arguments, "multirun", False)
    config = compose(arguments.overrides, arguments.config_dir, multirun=multirun)
    if arguments.cfg:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return 0
    if arguments.verb == "distill" and config.teacher.get("from") is None:
        raise ConfigError(
            "limbeck distill takes a teacher that is there: teacher.from=RUN, a run of 'limbeck "
            "train', or a file of "
            "weights. 'limbeck run' trains one first."
        )
    facts = {
        "command": _command(
            arguments.verb, arguments.overrides, arguments.config_dir, multirun=multirun
        ),
        "verb": arguments.verb,
        "multirun": multirun,
        "overrides": arguments.overrides,
        "config_dir": None if arguments.config_dir is None else str(arguments.config_dir),
        "folder": str(Path.cwd()),
    }
    usual = Path("runs") / str(config.get("recipe")) / time.strftime("%Y-%m-%d_%H-%M-%S")
    out = usual if config.get("out") is None else Path(str(config.out))
    return _execute(config, out, facts, resume=False)


def resume_study(arguments: argparse.Namespace) -> int:
    """``limbeck resume``: the same settings, composed anew, in the same folder."""
    from limbeck.cli.config.reopen import as_begun
    from limbeck.run.folder import RunFolder

    run = RunFolder(arguments.run.absolute())
    run.prepare(resume=True)
    sys.argv = [
        sys.argv[0],
        "resume",
        str(run.path),
    ]  # for processes that train along, wherever they start
    if run.read_json(run.manifest).get("state") == "finished":
        raise ConfigError(f"{arguments.run} is finished: see {run.report}.")
    with as_begun(run, "is resumed with Study(resume=True)") as (config, facts):
        return _execute(config, run.path, facts, resume=True)


def export_student(arguments: argparse.Namespace) -> int:
    """``limbeck export``: a student of a run as a bundle."""
    from limbeck.cli.config.reopen import finished
    from limbeck.cli.deploy_output import EXPORT, read_settings, told
    from limbeck.deploy.export import export

    settings = read_settings(arguments.settings, EXPORT)
    if "to" in settings:
        settings["to"] = Path(settings["to"]).absolute()
    with finished(arguments.run) as run:
        exported = export(run.folder, run.data, build=run.build, **settings)
    print(told(exported))
    return 0


def measure_cost(arguments: argparse.Namespace) -> int:
    """``limbeck cost``: what the models of a run cost to run."""
    from limbeck.cli.config.reopen import finished
    from limbeck.cli.deploy_output import cost_table
    from limbeck.deploy.run_cost import cost

    with finished(arguments.run) as run:
        print(cost_table(cost(run.folder, run.data, build=run.build, combine=run.combine)))
    print(f"report: {arguments.run / 'report.html'}")
    return 0


def show_demo(arguments: argparse.Namespace) -> int:
    """``limbeck demo``: serve the page until interrupted."""
    from limbeck.cli.config.reopen import finished
    from limbeck.cli.deploy_output import DEMO, read_settings
    from limbeck.deploy.demo import Demo
    from limbeck.deploy.shown import shown_models

    settings = read_settings(arguments.settings, DEMO)
    port = settings.pop("port", 0)
    with finished(arguments.run) as run:
        demo = Demo(
            shown_models(run.folder, build=run.build, combine=run.combine, **settings),
            run.data,
            port=port,
        )
    print(f"open {demo.url} in a browser on this machine; Ctrl-C ends it", flush=True)
    with suppress(KeyboardInterrupt):
        demo.serve()
    return 0


def write_sample(arguments: argparse.Namespace) -> int:
    """``limbeck sample``: what the models of a run on text write."""
    from limbeck.cli.config.reopen import finished
    from limbeck.cli.deploy_output import SAMPLE, read_settings
    from limbeck.deploy.sample import print_sampled, sample

    settings = read_settings(arguments.settings, SAMPLE)
    with finished(arguments.run) as run:
        found = sample(
            run.folder, run.data, arguments.prompt, build=run.build, combine=run.combine, **settings
        )
    print_sampled(arguments.prompt, found)
    return 0


def _execute(config: Any, out: Path, facts: dict[str, Any], *, resume: bool) -> int:
    from limbeck.cli.config.instantiate import build_study

    study = build_study(config, out=out, facts=facts, resume=resume)
    study.check()
    if study.rank == 0:
        where = f"{'resuming' if resume else 'results in'} {out}"
        print(f"limbeck {__version__}: {config.recipe}, {where}", file=sys.stderr)
        if config.sweep:
            print(study.size(), file=sys.stderr)
    try:
        summary = study.fit_teacher() if facts["verb"] == "train" else study.run()
    except KeyboardInterrupt:
        return _fail(f"interrupted. Go on with: limbeck resume {shlex.quote(str(out))}", 130)
    except DivergedError:
        if (
            study.rank > 0
        ):  # the first process says so, and would be killed by the failure of another
            return 0
        raise
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        return _fail(f"stopped. Go on with: limbeck resume {shlex.quote(str(out))}", code)
    if study.rank > 0:
        return 0
    from limbeck.report.terminal import print_summary

    print_summary(summary)
    print(f"report: {out / 'report.html'}")
    return _fail_of(summary) if summary.get("failed") else 0


def _fail_of(summary: dict[str, Any]) -> int:
    """Say that some students failed, though everything is written."""
    from limbeck.report.wording import failures

    students, arms = len(summary["failed"]), failures(summary)
    listed = "; ".join(f"{arm} ({seeds}): {reason}" for arm, seeds, reason in arms[:3])
    more = f"; and {len(arms) - 3} more arms" if len(arms) > 3 else ""
    memory = all(is_out_of_memory(reason) for _, _, reason in arms)
    return _fail(
        f"{students} student{'s' * (students > 1)} failed, everything else is in the report. "
        f"{listed}{more}",
        (ResourceError if memory else DivergedError).exit_code,
    )


def write_report(arguments: argparse.Namespace) -> int:
    """``limbeck report``."""
    from limbeck.report.page import write_report as write
    from limbeck.report.terminal import print_summary
    from limbeck.run.folder import RunFolder

    if not arguments.run.is_dir():
        raise ConfigError(
            f"{arguments.run} is not a folder; name a run, as in runs/digits/2026-01-01_12-00-00."
        )
    summary = RunFolder(arguments.run).read_summary()
    path = write(arguments.run)
    print_summary(summary)
    print(f"report: {path}")
    return 0


def list_recipes(arguments: argparse.Namespace) -> int:
    """``limbeck recipes``: name and first comment of each."""
    from limbeck.cli.config.compose import choices

    found = choices("recipe", arguments.config_dir)
    width = max(map(len, found))
    for name, file in found.items():
        comments = [
            line.lstrip("# ")
            for line in file.read_text(encoding="utf-8").splitlines()
            if line.startswith("#")
        ]
        about = [line for line in comments if not line.startswith("@package")]
        print(f"{name:<{width}}  {about[0] if about else ''}")
    return 0


def look_after_stores(arguments: argparse.Namespace) -> int:
    """``limbeck store``."""
    from limbeck.cli import store as store_commands
    from limbeck.store.key import default_folder

    if arguments.all and arguments.action != "clear":
        raise ConfigError(f"--all goes with 'limbeck store clear', not with {arguments.action}.")
    if arguments.keys and arguments.action == "list":
        raise ConfigError("'limbeck store list' takes no key: it lists every store.")
    root = default_folder() if arguments.folder is None else arguments.folder
    lines: Iterable[str] = store_commands.table(root)
    if arguments.action == "verify":
        lines = store_commands.verify(root, arguments.keys)
    elif arguments.action == "clear":
        lines = store_commands.clear(root, arguments.keys, everything=arguments.all)
    for line in lines:
        print(line)
    return 0


VERBS = {
    "run": run_study,
    "train": run_study,
    "distill": run_study,
    "resume": resume_study,
    "report": write_report,
    "export": export_student,
    "cost": measure_cost,
    "demo": show_demo,
    "sample": write_sample,
    "store": look_after_stores,
    "recipes": list_recipes,
}


def _command(
    verb: str, overrides: Sequence[str], config_dir: Path | None, *, multirun: bool = False
) -> str:
    own = ["-m"] * multirun + ([] if config_dir is None else ["--config-dir", str(config_dir)])
    return shlex.join(["limbeck", verb, *own, *overrides])
