"""Reopening a run of the command line: its settings, its dataset, and builders of its students."""

from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.cli.config.compose import compose
from limbeck.cli.config.instantiate import build_study
from limbeck.data import Dataset
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.study.arms import build

FACTS = ("command", "verb", "multirun", "overrides", "config_dir", "folder")
"""Keys of the manifest that a run of the command line is composed from."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: Run folder.
        data: Dataset of the run.
        build: Function from the name of an arm to its untrained student.
        combine: Mean of the teacher's members: of ``probabilities`` or ``logits``.
    """

    folder: Path
    data: Dataset
    build: Callable[[str], nn.Module]
    combine: str


@contextmanager
def recompose(run: RunFolder, in_python: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Compose the settings of a run anew, in the folder where it was started.

    Args:
        run: Run folder.
        in_python: Advice for a run made in Python, for the message.

    Yields:
        The settings, and the facts in the manifest.

    Raises:
        ConfigError: If the run was made in Python, or its settings can no longer be composed.
        UntrustedFileError: If its manifest is damaged.
    """
    manifest = run.read_json(run.manifest)
    facts = {key: manifest.get(key) for key in FACTS}
    overrides, config_dir = facts["overrides"], facts["config_dir"]
    if not isinstance(overrides, list):
        raise ConfigError(f"{run.manifest} names no settings: a run made in Python {in_python}.")
    if not all(isinstance(override, str) for override in overrides):
        raise UntrustedFileError(f"{run.manifest} is damaged: overrides should be strings.")
    start = facts["folder"]  # relative paths among the settings start there
    with chdir(start) if start and Path(start).is_dir() else nullcontext():
        yield compose(overrides, config_dir, multirun=bool(facts["multirun"])), facts


@contextmanager
def open_finished(place: Path) -> Iterator[FinishedRun]:
    """Open a finished run, in the folder where it was started.

    Raises:
        ConfigError: If the run is not finished, or was made in Python.
        DataError: If its data is missing.
    """
    run = RunFolder(place.absolute())
    read_summary(run)  # an unfinished run has none
    with recompose(run, "is handed to limbeck.deploy in Python, with its data") as (config, facts):
        study = build_study(config, out=run.path, facts=facts, resume=True)
        students = {plan.name: plan.student for plan in study.plans}
        combine = config.teacher.get("combine", "probabilities")

        def build_student(arm: str) -> nn.Module:
            return build(students[arm], study.data, 0)

        yield FinishedRun(run.path, study.data, build_student, combine)
