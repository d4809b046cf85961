"""One training in a worker process of a cluster."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from limbeck._base.errors import ConfigError, DivergedError, LimbeckError, ResourceError
from limbeck._base.files import write_bytes
from limbeck._base.scratch import scratch_folder
from limbeck._base.version import __version__
from limbeck.run.checkpoints import checkpoint_files
from limbeck.run.folder import RunFolder
from limbeck.study.cluster.coordinator import RemoteCoordinator, Report
from limbeck.study.cluster.fetch import fetch
from limbeck.study.cluster.packing import PackedTensor, SharedTensor, unpack
from limbeck.study.engine import TrainingJob
from limbeck.training.csv_logger import CSVLogger
from limbeck.training.fabric import quiet_lightning
from limbeck.training.fit import fit
from limbeck.training.metrics_relay import MetricsRelay
from limbeck.training.options import TrainerOptions

REPORT_SECONDS = 0.5
"""Minimum number of seconds between two reports without a checkpoint."""


@dataclass
class Outcome:
    """The outcome of a training in another process.

    Attributes:
        state: Weights and buffers of the cohort.
        epoch_state: Students that diverged, and other facts of the last epoch.
        seconds: Duration of the training.
        error: Error that ended it early; None without one.
    """

    state: dict[str, SharedTensor]
    epoch_state: dict[str, Any]
    seconds: float
    error: LimbeckError | None


def versions() -> dict[str, str]:
    """Return the versions that have to be the same on all machines."""
    return {"limbeck": __version__, "torch": torch.__version__}


def train(
    content: bytes,
    options: Mapping[str, Any],
    threads: int,
    expected: Mapping[str, str],
    coordinator: RemoteCoordinator,
    *shared: PackedTensor,
) -> Outcome:
    """Train a packed :class:`~limbeck.study.engine.TrainingJob`, from its last checkpoint.

    Args:
        content: Packed training.
        options: Options of the group ``trainer``.
        threads: Number of threads of PyTorch.
        expected: Versions on the machine of the study.
        coordinator: Handle of the coordinator.
        shared: Large tensors of the training.

    Raises:
        ConfigError: If versions differ, or a module is missing.
        UnreadableSamplesError: If samples are in a file that this machine cannot read.
        LimbeckError: If the data or the teacher is at fault.
    """
    check_versions(expected)
    torch.set_num_threads(threads)
    job: TrainingJob = unpack_work(content, shared)
    start = time.perf_counter()
    error: LimbeckError | None = None
    with scratch_folder() as folder, quiet_lightning():
        training = RemoteTraining(job, RunFolder(folder / "run"), coordinator)
        try:
            training.fit(options)
        except (DivergedError, ResourceError) as reason:
            error = reason
    return Outcome(
        state={
            name: SharedTensor.of(value) for name, value in job.task.cohort.state_dict().items()
        },
        epoch_state=job.task.epoch_state(),
        seconds=time.perf_counter() - start,
        error=error,
    )


def unpack_work(content: bytes, shared: Sequence[PackedTensor]) -> Any:
    """Unpack what the study sends to a worker.

    Raises:
        ConfigError: If a module is missing.
    """
    try:
        return unpack(content, shared)
    except ImportError as error:
        raise ConfigError(
            f"A worker of the cluster cannot import what the study consists of: {error}. Install "
            "the module on every machine of the cluster, or define its classes in your script."
        ) from None


def check_versions(expected: Mapping[str, str]) -> None:
    """Check that this machine has the versions of the machine of the study.

    Raises:
        ConfigError: If versions differ.
    """
    own = versions()
    for name, version in expected.items():
        if own[name] != version:
            raise ConfigError(
                f"A worker of the cluster has {name} {own[name]}, but this machine has {version}. "
                "Install the same version on all machines, then start again."
            )


class RemoteTraining:
    """A training whose progress, checkpoints and logs go to the coordinator.

    Args:
        job: The training.
        run: Temporary run folder.
        coordinator: Handle of the coordinator.
    """

    def __init__(self, job: TrainingJob, run: RunFolder, coordinator: RemoteCoordinator):
        self.job, self.run, self.coordinator = job, run, coordinator
        self.checkpoints = run.checkpoints / job.stage
        self._metrics: list[tuple[dict[str, float], int | None]] = []
        self._last_report = 0.0
        self._newest: str | None = None
        self._version = 0

    def fit(self, options: Mapping[str, Any]) -> None:
        """Train from the last checkpoint that the coordinator has.

        Args:
            options: Options of the group ``trainer``.
        """
        start = fetch(self.coordinator.start.remote(self.job.stage))
        for name, content in start.checkpoints.items():
            write_bytes(self.checkpoints / name, content)
        files = checkpoint_files(self.checkpoints)
        self._newest = files[0].name if files else None
        for version in range(start.version):  # folders of the logs of earlier starts
            (self.run.logs / self.job.stage / f"version_{version}").mkdir(parents=True)
        logger = CSVLogger(self.run.logs, self.job.stage)
        self._version, self._log = logger.version, logger.file
        try:
            if self.job.epochs:
                self._fit(TrainerOptions.of({**options, "max_epochs": self.job.epochs}), logger)
        finally:
            self._report(float(self.job.epochs), "", self._new_checkpoint())

    def _fit(self, options: TrainerOptions, logger: CSVLogger) -> None:
        fit(
            self.job.task,
            self.job.data,
            options=options,
            loggers=[logger, MetricsRelay(self._metrics)],
            checkpoints=self.checkpoints,
            advance=self._advance,
        )

    def _advance(self, done: float, note: str = "") -> None:
        checkpoint = self._new_checkpoint()
        now = time.monotonic()
        if checkpoint is not None or note or now - self._last_report > REPORT_SECONDS:
            self._last_report = now
            self._report(done, note, checkpoint)

    def _new_checkpoint(self) -> Path | None:
        """The newest checkpoint; None if the coordinator has it."""
        files = checkpoint_files(self.checkpoints)
        if not files or files[0].name == self._newest:
            return None
        self._newest = files[0].name
        return files[0]

    def _report(self, done: float, note: str, checkpoint: Path | None) -> None:
        report = Report(
            stage=self.job.stage,
            done=done,
            note=note,
            metrics=list(self._metrics),
            checkpoint=None if checkpoint is None else (checkpoint.name, checkpoint.read_bytes()),
            log=self._log.read_bytes() if self._log.is_file() else None,
            version=self._version,
        )
        self._metrics.clear()
        # Waiting keeps at most one checkpoint in memory, and ends a training without a study.
        fetch(self.coordinator.report.remote(report))


def load_outcome(job: TrainingJob, outcome: Outcome) -> None:
    """Set the models of a training to what they are after it.

    Args:
        job: The training, whose models have their initial weights.
        outcome: Its outcome in another process.
    """
    if outcome.state:  # a machine without memory sends none
        state = {name: value.tensor() for name, value in outcome.state.items()}
        job.task.cohort.load_state_dict(state)
        job.task.load_epoch_state(outcome.epoch_state)
