"""Training of the models of a study with devices, loggers, checkpoints and progress display."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck._base.signals import received_signal
from limbeck.data.study_data import StudyData
from limbeck.run.folder import RunFolder
from limbeck.run.summary import Summary
from limbeck.store.answers import Precision
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

    def fit(
        self, stage: str, label: str, task: DistillationTask, data: StudyData, epochs: int
    ) -> None:
        """Fit a teacher or a cohort, from its checkpoint if there is one.

        Args:
            stage: Name of the logs and checkpoints.
            label: Name on the progress display.
            task: Models with their losses and optimizer.
            data: Training and validation batches.
            epochs: Number of training epochs.

        Raises:
            DivergedError: If the loss of every student is no longer finite.
            ResourceError: If there is not enough memory.
        """
        options = TrainerOptions.of({**self.options, "max_epochs": epochs})
        loggers = [CSVLogger(self.run.logs, stage), *self._loggers]
        with self.progress.stage(label, epochs) as advance:
            fit(
                task,
                data,
                options=options,
                loggers=loggers,
                checkpoints=self.run.checkpoints / stage,
                advance=advance,
            )

    @contextmanager
    def open_loggers(self, settings: Mapping[str, Any]) -> Iterator[None]:
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
    def trains_cohorts(self) -> bool:
        """Whether students are trained together; not with float16, whose loss scale they share."""
        return getattr(self.precision, "scaler", None) is None

    @property
    def precision(self) -> Precision:
        """Precision of the training and of the teacher's answers."""
        return make_fabric(self.options).strategy.precision
