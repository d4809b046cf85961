"""The coordinator of a study on a cluster: what trainings report, and their checkpoints.

It is a Ray actor on the machine of the study, and writes into its run folder. Trainings on other
machines need no disk in common with it: they send checkpoints and logs here, and one that starts
again, after its machine was lost, asks for them.

The actor starts before the first training does, so this module imports neither PyTorch nor
Lightning, which would take seconds.
"""

from dataclasses import dataclass, field
from typing import Any

from limbeck._base.files import write_bytes
from limbeck._base.runtime.files import open_file
from limbeck.run.checkpoints import GENERATIONS, LOG_FILE, checkpoint_files
from limbeck.run.folder import RunFolder


@dataclass
class Start:
    """What a training starts from.

    Attributes:
        checkpoints: Content of each checkpoint by file name; empty at the first start.
        version: Number of the folder of its logs.
    """

    checkpoints: dict[str, bytes]
    version: int


@dataclass
class Report:
    """What a training reports.

    Attributes:
        stage: Name of the training.
        done: Number of finished epochs.
        note: Short text to show next to the progress.
        metrics: Rows for the loggers of the study: values by name, and the step.
        checkpoint: Name and content of a new checkpoint; None without one.
        log: Content of its CSV log; None if it has not changed.
        version: Number of the folder of its log.
    """

    stage: str
    done: float = 0.0
    note: str = ""
    metrics: list[tuple[dict[str, float], int | None]] = field(default_factory=list)
    checkpoint: tuple[str, bytes] | None = None
    log: bytes | None = None
    version: int = 0


@dataclass
class News:
    """What has happened since the coordinator was asked last.

    Attributes:
        progress: Number of finished epochs, and the note, of each training.
        metrics: Rows for the loggers of the study.
        warnings: Warnings to show.
    """

    progress: dict[str, tuple[float, str]] = field(default_factory=dict)
    metrics: list[tuple[dict[str, float], int | None]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Coordinator:
    """Writes checkpoints and logs of trainings into the run folder, and gathers their reports.

    Args:
        folder: Run folder.
    """

    def __init__(self, folder: str):
        self.run = RunFolder(folder)
        self._news = News()
        self._can_write = True

    def start(self, stage: str) -> Start:
        """Return what a training starts from.

        Args:
            stage: Name of the training.
        """
        self._news.progress[stage] = (0.0, "")
        files = checkpoint_files(self.run.checkpoints / stage)
        checkpoints = {}
        for file in files:
            with open_file(file) as stream:
                checkpoints[file.name] = stream.read()
        version = len(list((self.run.logs / stage).glob("version_*")))
        return Start(checkpoints, version)

    def report(self, report: Report) -> None:
        """Take a report of a training, and write what it brings."""
        self._news.progress[report.stage] = (report.done, report.note)
        self._news.metrics += report.metrics
        try:
            self._write(report)
        except OSError as error:
            self._warn_once(error)

    def news(self) -> News:
        """Return what has happened since the last call."""
        news, self._news = self._news, News()
        return news

    def _write(self, report: Report) -> None:
        if report.log is not None:  # before the checkpoint, whose epochs are not logged again
            folder = self.run.logs / report.stage / f"version_{report.version}"
            write_bytes(folder / LOG_FILE, report.log)
        if report.checkpoint is None:
            return
        name, content = report.checkpoint
        folder = self.run.checkpoints / report.stage
        write_bytes(folder / name, content)
        for file in checkpoint_files(folder)[GENERATIONS:]:
            file.unlink(missing_ok=True)
        self._can_write = True

    def _warn_once(self, error: OSError) -> None:
        """Warn about the first of several files that cannot be written."""
        if self._can_write:
            self._can_write = False
            self._news.warnings.append(
                f"{error.filename} cannot be written ({error.strerror}). The training goes on and "
                "limbeck tries again with the next checkpoint."
            )


RemoteCoordinator = Any
"""Handle of the actor, whose methods return references."""
