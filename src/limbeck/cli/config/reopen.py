"""Reopening of command-line runs: their settings, dataset and student builders."""

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
"""Keys of the manifest from which the settings of a run are composed again."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, reopened.

    Attributes:
        folder: Run folder.
        data: Dataset of the run.
        build: Function that builds the untrained student of an arm, by the arm's name.
        combine: Outputs of the teacher's members to average: ``probabilities`` or ``logits``.
    """

    folder: Path
    data: Dataset
    build: Callable[[str], nn.Module]
    combine: str


@contextmanager
def recompose(run: RunFolder, python_advice: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Compose the settings of a run again, in the working directory in which it was started.

    Args:
        run: Run folder.
        python_advice: End of the error message for a run started from Python.

    Yields:
        Settings of the run, and the facts in its manifest.

    Raises:
        ConfigError: If the run was started from Python, or its settings can no longer be composed.
        UntrustedFileError: If its manifest is damaged.
    """
    manifest = run.read_json(run.manifest)
    facts = {key: manifest.get(key) for key in FACTS}
    overrides, config_dir = facts["overrides"], facts["config_dir"]
    if not isinstance(overrides, list):
        raise ConfigError(
            f"{run.manifest} holds no overrides: a run made in Python {python_advice}."
        )
    if not all(isinstance(override, str) for override in overrides):
        raise UntrustedFileError(f"{run.manifest} is damaged: overrides should be strings.")
    working_dir = facts["folder"]  # relative paths in the settings refer to it
    with chdir(working_dir) if working_dir and Path(working_dir).is_dir() else nullcontext():
        yield compose(overrides, config_dir, multirun=bool(facts["multirun"])), facts


@contextmanager
def open_finished_run(path: Path) -> Iterator[FinishedRun]:
    """Open a finished run, in the working directory in which it was started.

    Raises:
        ConfigError: If the run is not finished, or was started from Python.
        DataError: If its dataset is missing.
    """
    run = RunFolder(path.absolute())
    read_summary(run)  # raises if the run is not finished
    advice = "should be passed to limbeck.deploy in Python, with its dataset"
    with recompose(run, advice) as (config, facts):
        study = build_study(config, out=run.path, facts=facts, resume=True)
        students = {plan.name: plan.student for plan in study.plans}
        combine = config.teacher.get("combine", "probabilities")

        def build_student(arm: str) -> nn.Module:
            return build(students[arm], study.data, 0)

        yield FinishedRun(run.path, study.data, build_student, combine)
