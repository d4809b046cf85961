"""Reopening of command-line runs: their settings, dataset and student builders.

The settings come from ``config.yaml``, which is data. The command in the manifest is not repeated.
"""

import copy
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.cli.config.command import Command, read_command
from limbeck.cli.config.groups import choice_names
from limbeck.cli.config.instantiate import build_models, insert_views
from limbeck.cli.config.saved_settings import add_new_settings, read_saved_settings
from limbeck.cli.config.trust import Trust
from limbeck.data import Dataset
from limbeck.data.embeddings import set_dimensions
from limbeck.deploy.student import vectors_of_teacher
from limbeck.run.folder import RunFolder
from limbeck.run.search import read_search
from limbeck.run.summary import read_summary
from limbeck.search.space import student_builder
from limbeck.study.arms import build

NO_TRUST = Trust()


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


@dataclass(frozen=True)
class SavedStudy:
    """The study in a run folder.

    Attributes:
        record: Settings as the run folder holds them.
        settings: The same with those that are new since then.
        command: Command that started the run.
    """

    record: dict[str, Any]
    settings: dict[str, Any]
    command: Command


@contextmanager
def reopen(run: RunFolder, python_advice: str, trust: Trust = NO_TRUST) -> Iterator[SavedStudy]:
    """Read the study in a run folder, to continue it in the working directory of its start.

    Args:
        run: Run folder.
        python_advice: Sentence that says what to do with a run started from Python.
        trust: Whether the user trusts the run folder.

    Raises:
        ConfigError: If the run was started from Python, or its settings are missing.
        UntrustedFileError: If a file is damaged, or the run is not trusted but asks for more than
            limbeck's own objects.
    """
    command = read_command(run, python_advice)
    record = read_saved_settings(run)
    with _working_directory(command.folder, trust):
        trust.check(run.path, record, choice_names("views"))
        settings = add_new_settings(record)
        if trust.is_given:  # earlier versions wrote the names of views in the user's own folder
            settings = insert_views(copy.deepcopy(settings), command.config_dir)
        yield SavedStudy(record, settings, command)


@contextmanager
def open_finished_run(
    path: Path,
    trust: Trust = NO_TRUST,
    check: Callable[[RunFolder], None] | None = None,
) -> Iterator[FinishedRun]:
    """Open a finished run, in the working directory in which it was started.

    Other processes cannot change the run during the block.

    Args:
        path: Run folder.
        trust: Whether the user trusts it.
        check: Function that checks what is needed before the dataset is loaded, which takes time.

    Raises:
        ConfigError: If the run is not finished, was started from Python, or another process works
            in its folder.
        DataError: If its dataset is missing.
        UntrustedFileError: If a file is damaged, or the run is not trusted but asks for more than
            limbeck's own objects.
    """
    run = RunFolder(path.absolute())
    with run.keep_unchanged():
        read_summary(run)  # raises if the run is not finished
        if check is not None:
            check(run)
        with _finished_run(run, trust) as study:
            yield study


@contextmanager
def _finished_run(run: RunFolder, trust: Trust) -> Iterator[FinishedRun]:
    advice = (
        "In Python, pass the folder and the dataset to a function of limbeck.deploy, such as "
        "limbeck.deploy.export.export."
    )
    command = read_command(run, advice)
    settings = add_new_settings(read_saved_settings(run))
    with _working_directory(command.folder, trust):
        trust.check(run.path, _settings_of_models(settings), ())
        data, students = build_models(settings, with_students=trust.is_given)
        if students and data.kind.outputs == "vectors":  # classes of students take their number
            data = set_dimensions(data, vectors_of_teacher(run).shape[1])
        teacher = settings["teacher"]

        search = read_search(run)

        def build_student(arm: str) -> nn.Module:
            if search is not None and search.winner is not None:
                return build(student_builder(search.winner.settings, data.shape), data, 0)
            trust.require(run.path, f"a class of its own for the student of {arm}")
            return build(students[arm], data, 0)

        yield FinishedRun(
            run.path, data, build_student, str(teacher.get("combine", "probabilities"))
        )


def _settings_of_models(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings from which dataset and students are built, without all others.

    Limbeck's own students come from their files, so nothing is downloaded for them.
    """
    arms = {}
    for name, arm in (settings.get("arms") or {}).items():
        if isinstance(arm, dict):
            arms[name] = {"student": _without_downloads(arm.get("student"))}
    student = _without_downloads(settings.get("student"))
    return {"data": settings.get("data"), "student": student, "arms": arms}


def _without_downloads(student: Any) -> Any:
    if not isinstance(student, dict):
        return student
    return {key: value for key, value in student.items() if key not in ("path", "pretrained")}


@contextmanager
def _working_directory(folder: str | None, trust: Trust) -> Iterator[None]:
    """Change to the folder in which a run was started, without importing modules from it.

    Args:
        folder: Folder in the manifest; it is skipped if it does not exist here.
        trust: Whether the user trusts the run.
    """
    if not folder or not Path(folder).is_dir():
        folder = None
    imports = nullcontext() if trust.is_given else _fixed_imports()
    with imports, chdir(folder) if folder else nullcontext():
        yield


@contextmanager
def _fixed_imports() -> Iterator[None]:
    """Import modules from the same folders in any working directory, as do child processes."""
    path, environment = list(sys.path), dict(os.environ)
    sys.path[:] = [os.path.abspath(entry) for entry in sys.path]
    python_path = os.environ.get("PYTHONPATH")
    if python_path:
        entries = [os.path.abspath(entry) for entry in python_path.split(os.pathsep)]
        os.environ["PYTHONPATH"] = os.pathsep.join(entries)
    os.environ["PYTHONSAFEPATH"] = "1"  # no modules of the working directory
    try:
        yield
    finally:
        sys.path[:] = path
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
            os.environ.pop(name, None)
            if name in environment:
                os.environ[name] = environment[name]
