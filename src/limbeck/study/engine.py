"""Training of the models of a study with devices, loggers, checkpoints and progress display."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from limbeck._base.errors import ConfigError, DivergedError, LimbeckError, ResourceError
from limbeck._base.progress import StageProgress
from limbeck._base.signals import received_signal
from limbeck.data.study_data import StudyData
from limbeck.run.folder import RunFolder
from limbeck.run.summary import Summary
from limbeck.store.answers import Precision
from limbeck.store.shards import Shards, compute_shards
from limbeck.study.logged_results import logged_results
from limbeck.training.csv_logger import CSVLogger
from limbeck.training.fabric import make_fabric
from limbeck.training.fit import fit
from limbeck.training.loggers import close_loggers
from limbeck.training.options import TrainerOptions
from limbeck.training.services.base import StudyLogger
from limbeck.training.services.settings import loggable_settings
from limbeck.training.task import DistillationTask


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Check the settings of the group ``trainer``.

    Raises:
        ConfigError: If a setting is unknown or not supported.
    """
    if not isinstance(trainer, Mapping):
        raise ConfigError(
            f"trainer={trainer!r} should be a group of settings, as in {{'precision': '32-true'}}."
        )
    TrainerOptions.of(dict(trainer))


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """The training of a teacher or of a cohort of students.

    Attributes:
        stage: Name of the logs and checkpoints.
        label: Name on the progress display.
        task: Models with their losses and optimizer, which are trained in place.
        data: Training and validation batches.
        epochs: Number of training epochs.
    """

    stage: str
    label: str
    task: DistillationTask
    data: StudyData
    epochs: int


@dataclass(frozen=True)
class JobResult:
    """How a training ended.

    Attributes:
        job: The training.
        error: Error that ended the training early; None without one.
    """

    job: TrainingJob
    error: LimbeckError | None = None


class RecordSeconds(Protocol):
    """Callback that records how long a training took."""

    def __call__(self, stage: str, seconds: float, waited: float) -> None:
        """Record the duration.

        Args:
            stage: Name of the training.
            seconds: Duration of the training.
            waited: Part of it during which no other training was counted. The sum over trainings is
                the time that the study took, whether they ran in turn or at the same time.
        """


class Engine:
    """Trainer of the teacher and the cohorts of a study.

    Args:
        run: Folder for logs and checkpoints.
        trainer: Settings of the group ``trainer``.
        loggers: Functions that create a Lightning logger, called with ``save_dir``.
        progress: Progress display.
    """

    def __init__(
        self,
        run: RunFolder,
        trainer: Mapping[str, Any],
        loggers: Sequence[Callable[..., Any]],
        progress: StageProgress,
    ):
        self.run, self.options, self.progress = run, dict(trainer), progress
        self._logger_factories = loggers
        self._loggers: list[Any] = []

    def fit(self, job: TrainingJob) -> None:
        """Fit a teacher or a cohort, from its checkpoint if there is one; 0 epochs change nothing.

        Args:
            job: The training.

        Raises:
            DivergedError: If the loss of every student is no longer finite.
            ResourceError: If there is not enough memory.
        """
        if job.epochs == 0:
            return
        options = TrainerOptions.of({**self.options, "max_epochs": job.epochs})
        loggers = [CSVLogger(self.run.logs, job.stage), *self._loggers]
        with self.progress.stage(job.label, job.epochs) as advance:
            fit(
                job.task,
                job.data,
                options=options,
                loggers=loggers,
                checkpoints=self.run.checkpoints / job.stage,
                advance=advance,
            )

    def fit_all(self, jobs: Iterable[TrainingJob], record: RecordSeconds) -> Iterator[JobResult]:
        """Fit several cohorts. A training that diverges or needs too much memory ends no other.

        Args:
            jobs: Trainings; each is created when its turn comes, so that the models of only one
                are in memory.
            record: Function to call with the duration of each training, also if it is interrupted.

        Yields:
            The result of each training as soon as it has ended.
        """
        for job in jobs:
            start = time.perf_counter()
            error: LimbeckError | None = None
            try:
                self.fit(job)
            except (DivergedError, ResourceError) as reason:
                error = reason
                error.__traceback__ = None  # the traceback would keep the cohort in memory
                error.__context__ = None
            finally:
                seconds = time.perf_counter() - start
                record(job.stage, seconds, seconds)
            yield JobResult(job, error)
            del job  # the next one is created in its place

    def compute_shards(
        self, shards: Shards, advance: Callable[[int], object]
    ) -> Iterator[tuple[int, bytes]]:
        """Compute stored answers; see :data:`~limbeck.store.shards.ComputeShards`."""
        return compute_shards(shards, advance)

    @contextmanager
    def open(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Create the user's loggers, log the settings of the study, and close them at the end.

        Args:
            settings: Settings of the study.
        """
        save_dir = str(self.run.logs)
        loggers = [create(save_dir=save_dir) for create in self._logger_factories]
        self._loggers = [logger for logger in loggers if logger is not None]
        status = "failed"
        try:
            for logger in self._study_loggers():
                logger.log_settings(loggable_settings(settings))
            yield
            status = "success"
        finally:
            close_loggers([logger.close for logger in self._study_loggers()], status)

    def log_results(self, summary: Summary) -> None:
        """Log the results of the study."""
        loggers = self._study_loggers()
        if loggers and received_signal() is None:
            results = logged_results(summary, self.run.report)
            for logger in loggers:
                logger.log_results(results)

    def _study_loggers(self) -> list[StudyLogger]:
        """The loggers that show a whole study; others get the curves alone."""
        return [logger for logger in self._loggers if isinstance(logger, StudyLogger)]

    @property
    def device(self) -> torch.device:
        """Device of the training."""
        return make_fabric(self.options).device

    @property
    def trains_at_once(self) -> bool:
        """Whether several cohorts are trained at the same time."""
        return False

    @property
    def trains_cohorts(self) -> bool:
        """Whether students are trained together.

        They are not with float16, whose loss scale they share, and not if each process holds a
        share of the weights.
        """
        has_scale = getattr(self.precision, "scaler", None) is not None
        return not has_scale and not TrainerOptions.of(self.options).is_sharded

    @property
    def precision(self) -> Precision:
        """Precision of the training and of the teacher's answers."""
        return make_fabric(self.options).strategy.precision
