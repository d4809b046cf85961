"""The command line: verbs, Hydra's overrides, and one message for everything a user can mend."""

import argparse
import errno
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from limbeck import __version__
from limbeck.errors import ConfigError, LimbeckError, ResourceError

CONF = Path(__file__).parent / "conf"
DESCRIPTION = (
    "Knowledge distillation for PyTorch, with the control beside it: does distilling make your small model better?"
)
EPILOG = """\
examples:
  limbeck run                                            the digits study, under a minute
  limbeck run recipe=mnist data.download=true            Hinton et al. 2015 on MNIST
  limbeck run objective.temperature=8 seeds=10           any setting, by its name
  limbeck run teacher.from=runs/mnist/2026-01-01_12-00   a teacher trained before
  limbeck run --cfg job                                  show all settings and stop

exit codes: 0 done, 2 configuration, 3 data, 4 teacher, 5 training diverged, 6 disk, memory or network,
7 untrusted or damaged file, 130 or 143 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        "limbeck", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=f"limbeck {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in (
        ("run", "train the teacher, the controls and the distilled students; compare; report"),
        ("train", "train the teacher alone"),
    ):
        added = verbs.add_parser(verb, help=text, description=text)
        added.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, as in recipe=mnist epochs=60")
        added.add_argument("--cfg", choices=["job"], help="print the composed settings and stop")
        added.add_argument("--config-dir", type=Path, metavar="DIR", help="a folder with recipes of your own")
    resume = verbs.add_parser("resume", help="go on with a run that was interrupted")
    resume.add_argument("run", type=Path, metavar="RUN", help="your run folder; its settings are used as you gave them")
    report = verbs.add_parser("report", help="write a run's report.html anew and print its table")
    report.add_argument("run", type=Path, metavar="RUN", help="a finished run folder")
    verbs.add_parser("recipes", help="list the recipes")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; print one message and return an exit code for whatever the user can mend."""
    arguments = parser().parse_args(argv)
    # Threads that wait should not spin: on a shared machine that costs several times the work (see docs/log.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
            return _fail(f"the disk is full: {error}. Free some space and resume the run.", ResourceError.exit_code)
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            return _fail(f"permission denied: {error.filename}. Name another folder with out=.", ConfigError.exit_code)
        raise


def _fail(message: str, code: int) -> int:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text("error: ", style="bold red") + Text(message))
    return code


def _terminate(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)


# Verbs ---------------------------------------------------------------------------------------------------------------


def run_study(arguments: argparse.Namespace) -> int:
    """``limbeck run`` and ``limbeck train``."""
    config = compose(arguments.overrides, arguments.config_dir)
    if arguments.cfg:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return 0
    facts = {
        "command": _command(arguments.verb, arguments.overrides, arguments.config_dir),
        "verb": arguments.verb,
        "overrides": arguments.overrides,
        "config_dir": None if arguments.config_dir is None else str(arguments.config_dir),
    }
    usual = Path("runs") / config.recipe / time.strftime("%Y-%m-%d_%H-%M-%S")
    out = usual if config.out is None else Path(str(config.out))
    return _execute(config, out, facts, resume=False)


def resume_study(arguments: argparse.Namespace) -> int:
    """``limbeck resume``: the same settings, composed anew, in the same folder."""
    from limbeck.run_folder import RunFolder

    run = RunFolder(arguments.run)
    run.prepare(resume=True)
    manifest = run.read_json(run.manifest)
    if manifest.get("state") == "finished":
        raise ConfigError(f"{arguments.run} is finished: see {run.report}.")
    facts = {key: manifest.get(key) for key in ("command", "verb", "overrides", "config_dir")}
    if not isinstance(facts["overrides"], list):
        raise ConfigError(f"{run.manifest} names no settings: a run made in Python is resumed with Study(resume=True).")
    config = compose(facts["overrides"], facts["config_dir"])
    return _execute(config, arguments.run, facts, resume=True)


def _execute(config: Any, out: Path, facts: dict[str, Any], *, resume: bool) -> int:
    study = build_study(config, out=out, facts=facts, resume=resume)
    study.check()
    print(f"limbeck {__version__}: {config.recipe}, results in {out}", file=sys.stderr)
    try:
        summary = study.fit_teacher() if facts["verb"] == "train" else study.run()
    except KeyboardInterrupt:
        return _fail(f"interrupted. Go on with: limbeck resume {shlex.quote(str(out))}", 130)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        return _fail(f"stopped. Go on with: limbeck resume {shlex.quote(str(out))}", code)
    from limbeck.report.terminal import print_summary

    print_summary(summary)
    print(f"report: {out / 'report.html'}")
    return 0


def write_report(arguments: argparse.Namespace) -> int:
    """``limbeck report``."""
    from limbeck.report.report import write_report as write
    from limbeck.report.terminal import print_summary
    from limbeck.run_folder import RunFolder

    if not arguments.run.is_dir():
        raise ConfigError(f"{arguments.run} is not a folder; name a run, as in runs/digits/2026-01-01_12-00-00.")
    summary = RunFolder(arguments.run).read_summary()
    path = write(arguments.run)
    print_summary(summary)
    print(f"report: {path}")
    return 0


def list_recipes(arguments: argparse.Namespace) -> int:
    """``limbeck recipes``: name and first comment of each."""
    for file in sorted((CONF / "recipe").glob("*.yaml")):
        comments = [line.lstrip("# ") for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        about = [line for line in comments if not line.startswith("@package")]
        print(f"{file.stem:<12} {about[0] if about else ''}")
    return 0


VERBS = {
    "run": run_study,
    "train": run_study,
    "resume": resume_study,
    "report": write_report,
    "recipes": list_recipes,
}


def _command(verb: str, overrides: Sequence[str], config_dir: Path | None) -> str:
    own = [] if config_dir is None else ["--config-dir", str(config_dir)]
    return shlex.join(["limbeck", verb, *own, *overrides])


# From overrides to a study -------------------------------------------------------------------------------------------


def compose(overrides: Sequence[str], config_dir: str | Path | None = None) -> Any:
    """The settings that overrides lead to.

    Raises:
        ConfigError: an override cannot be read, or names an unknown key, group or choice.
    """
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    parsed = [_parse(override) for override in overrides]
    overrides = [_quoted(override, *found) for override, found in zip(overrides, parsed, strict=True)]
    search = [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    groups = {p.name for p in CONF.iterdir() if p.is_dir()}
    chosen = [o for o, (key, _) in zip(overrides, parsed, strict=True) if key in groups]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            base = _with_choices_whole(search, chosen, [])
            ready = [_check_key(base, o, key) for o, (key, _) in zip(overrides, parsed, strict=True) if o not in chosen]
            config = _with_choices_whole(search, chosen, ready)
            OmegaConf.resolve(config)
            return config
        except ConfigError:
            raise
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(_explain(error, parsed, config_dir)) from None


def _with_choices_whole(search: list[str], chosen: list[str], ready: list[str]) -> Any:
    """Compose; of a group chosen on the command line the recipe's differences do not count: they fit its own choice."""
    from hydra import compose as hydra_compose
    from omegaconf import open_dict

    config = hydra_compose("config", overrides=[*search, *chosen, *ready])
    groups = [o.partition("=")[0] for o in chosen if not o.startswith("recipe=")]
    if groups:
        inside = [o for o in ready if o.lstrip("+~").partition("=")[0].partition(".")[0] in groups]
        choices = [o for o in chosen if not o.startswith("recipe=")]
        plain = hydra_compose("config", overrides=[*search, *choices, "~recipe", *inside])
        with open_dict(config):
            for group in groups:
                config[group] = plain[group]
    return config


def _parse(override: str) -> tuple[str, str]:
    """Key and value of an override, as far as a message needs them."""
    key, equals, value = override.partition("=")
    if not key.strip("+~ ") or (not equals and not override.startswith("~")):
        raise ConfigError(f"{override!r} should be KEY=VALUE, as in recipe=mnist or epochs=60.")
    return key.lstrip("+~"), value


PATHS = ("out", "data.root", "teacher.from")


def _quoted(override: str, key: str, value: str) -> str:
    """The override, a path in quotes: Hydra's grammar knows no umlauts, and takes commas and brackets for its own."""
    if key not in PATHS or not value or value == "null" or value[0] in "['\"":
        return override
    path = os.path.expanduser(value).replace("'", "\\'")
    return f"{override.partition('=')[0]}='{path}'"


def _check_key(base: Any, override: str, key: str) -> str:
    """The override, if its key is known; keys of ``trainer`` and ``arms`` may be new and are checked later."""
    from omegaconf import OmegaConf

    from limbeck.config import closest

    if key.partition(".")[0] in ("trainer", "arms") and override[0] not in "+~":
        return f"++{override}"
    if override[0] in "+~" or OmegaConf.select(base, key, default=_MISSING) is not _MISSING:
        return override
    known = _flat(OmegaConf.to_container(base, resolve=False))
    near = closest(key, known) or closest(key, [k for k in known if k.rpartition(".")[0] == key.rpartition(".")[0]])
    hint = "" if near is None else f"; did you mean {near} (default {_shown(known[near])})?"
    raise ConfigError(f"unknown key {key}{hint} 'limbeck run --cfg job' shows every key.")


_MISSING = object()


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        found[f"{prefix}{key}"] = value
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
    return found


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a group of settings"
    return "null" if value is None else str(value)


def _explain(error: Exception, parsed: Sequence[tuple[str, str]], config_dir: str | Path | None) -> str:
    """One line for what Hydra refused."""
    from limbeck.config import closest

    for key, value in parsed:
        folder = CONF / key
        if folder.is_dir():
            own = [] if config_dir is None else [f.stem for f in (Path(config_dir) / key).glob("*.yaml")]
            choices = sorted([f.stem for f in folder.glob("*.yaml")] + own)
            if value not in choices:
                near = closest(value, choices)
                hint = f"; did you mean {near}?" if near else "."
                return f"{key}={value} is unknown{hint} Choose one of {', '.join(choices)}."
    return "the settings cannot be read: " + " ".join(str(error).split())


SECTIONS = {
    "data": "data=digits", "student": "student=mlp", "teacher": "teacher=mlp", "objective": "objective.temperature=4",
    "transfer": "transfer.samples=100", "optimizer": "optimizer.lr=0.01", "trainer": "trainer.precision=32-true",
    "logger": "logger=csv",
}  # fmt: skip


def build_study(config: Any, *, out: Path, facts: dict[str, Any], resume: bool = False) -> Any:
    """The study that composed settings describe.

    Raises:
        ConfigError: a value is out of range.
        DataError: the data is missing or damaged.
    """
    from omegaconf import OmegaConf

    from limbeck.config import check_arms, check_flags
    from limbeck.run_folder import RunFolder

    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for name, value in settings.items():
        if name in SECTIONS and not isinstance(value, dict):
            raise ConfigError(f"{name}={value!r} should be a group of settings, as in {SECTIONS[name]}.")
    check_flags(settings)
    check_arms(settings["arms"], settings)
    RunFolder(out).check(resume=resume, overwrite=settings["overwrite"])
    return _Builder(settings).study(out=out, facts=facts, resume=resume)


class _Builder:
    """Builds the objects of a study from plain settings; equal settings give the same object."""

    def __init__(self, settings: dict[str, Any]):
        self.settings = settings
        self.quick = settings["quick"]
        self._made: dict[str, Any] = {}

    def study(self, *, out: Path, facts: dict[str, Any], resume: bool) -> Any:
        from limbeck.config import check_count, check_seed, seed_list
        from limbeck.data import TransferSet
        from limbeck.plan import Arm
        from limbeck.study import Study
        from limbeck.training.optimizer import Optimizer

        settings = self.settings
        arms = {
            name: Arm(
                objective=self._objective(arm or {}),
                student=self._make(_merged(settings["student"], (arm or {}).get("student"))),
                views=self._views((arm or {}).get("views", settings["views"])),
                transfer=TransferSet(**_merged(settings["transfer"], (arm or {}).get("transfer"))),
                control=(arm or {}).get("control"),
            )
            for name, arm in settings["arms"].items()
        }
        check_seed("transfer.seed", settings["transfer"]["seed"])
        seeds, epochs = seed_list(settings["seeds"]), check_count("epochs", settings["epochs"])
        optimizer = Optimizer(**settings["optimizer"])
        teacher = self._teacher()
        data = self._make(settings["data"])
        return Study(
            data.head(QUICK_SAMPLES) if self.quick else data, arms, teacher=teacher,
            seeds=seeds[:2] if self.quick else seeds, epochs=min(epochs, 2) if self.quick else epochs,
            batch_size=settings["batch_size"], optimizer=optimizer, trainer=settings["trainer"],
            loggers=[self._make(node) for node in settings["logger"].values() if node], store=settings["store"],
            out=out, name=settings["recipe"], overwrite=settings["overwrite"], resume=resume, config=settings,
            facts=facts,
        )  # fmt: skip

    def _objective(self, arm: dict[str, Any]) -> Any:
        from limbeck.losses import Objective

        return Objective(**_merged(self.settings["objective"], arm.get("objective")))

    def _views(self, node: Any) -> Any:
        if isinstance(node, str):
            import yaml

            file = CONF / "views" / f"{node}.yaml"
            if not file.is_file():
                choices = ", ".join(sorted(f.stem for f in file.parent.glob("*.yaml")))
                raise ConfigError(f"views: {node!r} is unknown; choose one of {choices}.")
            node = yaml.safe_load(file.read_text(encoding="utf-8"))
        return self._make(_merged(self.settings["views"], node) if "_target_" not in node else node)

    def _teacher(self) -> Any:
        from limbeck.config import check_count
        from limbeck.plan import Teacher
        from limbeck.training.optimizer import Optimizer

        node = dict(self.settings["teacher"])
        source = node.pop("from")
        if node["model"] is None and source is None:
            return None
        model = None if node["model"] is None else self._make(node["model"])
        if len(node) == 1:
            return Teacher(model=model, source=_listed(source))
        epochs = check_count("teacher.epochs", node.pop("epochs"))
        return Teacher(
            model=model, views=self._views(node.pop("views")), optimizer=Optimizer(**node.pop("optimizer")),
            epochs=min(epochs, 2) if self.quick else epochs, source=_listed(source),
            **{key: value for key, value in node.items() if key != "model"},
        )  # fmt: skip

    def _make(self, node: Any) -> Any:
        """Instantiate what ``_target_`` names, once for equal settings."""
        import json

        from hydra.errors import HydraException
        from hydra.utils import instantiate

        key = json.dumps(node, sort_keys=True, default=str)
        if key not in self._made:
            try:
                self._made[key] = instantiate(node, _convert_="all")
            except HydraException as error:
                if isinstance(error.__cause__, LimbeckError):
                    raise error.__cause__ from None
                target = node.get("_target_") if isinstance(node, dict) else node
                raise ConfigError(
                    f"{target} could not be built: {' '.join(str(error.__cause__ or error).split())}"
                ) from None
        return self._made[key]


QUICK_SAMPLES = 2000


def _listed(source: Any) -> list[str] | None:
    return None if source is None else [str(s) for s in (source if isinstance(source, list) else [source])]


def _merged(base: dict[str, Any], differences: dict[str, Any] | None) -> dict[str, Any]:
    """``base`` with differences; a difference that names a ``_target_`` of its own replaces it whole."""
    if not differences:
        return base
    return dict(differences) if "_target_" in differences else {**base, **differences}
