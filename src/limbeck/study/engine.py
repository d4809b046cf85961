"""Training of the models of a study with devices, loggers, checkpoints and progress display."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data.batches import StudyData
from limbeck.run.folder import RunFolder
from limbeck.store.answers import Precision
from limbeck.training.csv_logger import CSVLogger
from limbeck.training.fabric import make_fabric
from limbeck.training.fit import fit
from limbeck.training.options import TrainerOptions
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
        self._loggers: list[Any] | None = None

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
        loggers = [CSVLogger(self.run.logs, stage), *self._user_loggers()]
        with self.progress.stage(label, epochs) as advance:
            fit(
                task,
                data,
                options=options,
                loggers=loggers,
                checkpoints=self.run.checkpoints / stage,
                advance=advance,
            )

    def _user_loggers(self) -> list[Any]:
        """The user's loggers, created before the first fit."""
        if self._loggers is None:
            save_dir = str(self.run.logs)
            loggers = [create(save_dir=save_dir) for create in self._logger_factories]
            self._loggers = [logger for logger in loggers if logger is not None]
        return self._loggers

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
