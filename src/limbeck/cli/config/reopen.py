"""Reopening of command-line runs: their settings, dataset and student builders."""

from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.cli.config.command import Command, read_command
from limbeck.cli.config.compose import compose
from limbeck.cli.config.instantiate import build_study
from limbeck.data import Dataset
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.study.arms import build


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
def recompose(run: RunFolder, python_advice: str) -> Iterator[tuple[Any, Command]]:
    """Compose the settings of a run again, in the working directory in which it was started.

    Args:
        run: Run folder.
        python_advice: Sentence that says what to do with a run started from Python.

    Yields:
        Settings of the run, and the command that started it.

    Raises:
        ConfigError: If the run was started from Python, or its settings can no longer be composed.
        UntrustedFileError: If its manifest is damaged.
    """
    command = read_command(run, python_advice)
    folder = command.folder
    with chdir(folder) if folder and Path(folder).is_dir() else nullcontext():
        config = compose(command.overrides, command.config_dir, multirun=command.multirun)
        yield config, command


@contextmanager
def open_finished_run(path: Path) -> Iterator[FinishedRun]:
    """Open a finished run, in the working directory in which it was started.

    Raises:
        ConfigError: If the run is not finished, or was started from Python.
        DataError: If its dataset is missing.
    """
    run = RunFolder(path.absolute())
    read_summary(run)  # raises if the run is not finished
    advice = (
        "In Python, pass the folder and the dataset to a function of limbeck.deploy, such as "
        "limbeck.deploy.export.export."
    )
    with recompose(run, advice) as (config, command):
        study = build_study(config, out=run.path, command=command, resume=True)
        students = {plan.name: plan.student for plan in study.plans}
        combine = config.teacher.get("combine", "probabilities")

        def build_student(arm: str) -> nn.Module:
            return build(students[arm], study.data, 0)

        yield FinishedRun(run.path, study.data, build_student, combine)
