"""A run of the command line once more: its settings, its data set, and what makes its students."""

from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from limbeck._base.errors import ConfigError
from limbeck.cli.config.compose import compose
from limbeck.cli.config.instantiate import build_study
from limbeck.data import Dataset
from limbeck.run.folder import RunFolder
from limbeck.study.arms import build


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        folder: of the run.
        data: its data set.
        build: makes the empty student of an arm.
        combine: how the teacher's members become one.
    """

    folder: Path
    data: Dataset
    build: Callable[[str], nn.Module]
    combine: str


@contextmanager
def as_begun(run: RunFolder, in_python: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The settings of a run, composed anew, and the facts of its manifest; meanwhile we are where
    it was started.

    Args:
        run: the run.
        in_python: what to do with a run made in Python, for the message.

    Raises:
        ConfigError: the run was made in Python, or its settings can no longer be composed.
    """
    manifest = run.read_json(run.manifest)
    facts = {
        key: manifest.get(key)
        for key in ("command", "verb", "multirun", "overrides", "config_dir", "folder")
    }
    if not isinstance(facts["overrides"], list):
        raise ConfigError(f"{run.manifest} names no settings: a run made in Python {in_python}.")
    began = facts["folder"]  # where relative paths among the settings start
    with chdir(began) if began and Path(began).is_dir() else nullcontext():
        yield (
            compose(facts["overrides"], facts["config_dir"], multirun=bool(facts["multirun"])),
            facts,
        )


@contextmanager
def finished(place: Path) -> Iterator[Finished]:
    """A finished run, opened; meanwhile we are where it was started.

    Raises:
        ConfigError: it is not finished, or was made in Python.
        DataError: its data is gone.
    """
    run = RunFolder(place.absolute())
    run.read_summary()
    with as_begun(run, "is handed to limbeck.deploy in Python, with its data") as (config, facts):
        study = build_study(config, out=run.path, facts=facts, resume=True)
        students = {plan.name: plan.student for plan in study.plans}
        combine = config.teacher.get("combine", "probabilities")
        yield Finished(
            run.path, study.data, lambda arm: build(students[arm], study.data, 0), combine
        )
