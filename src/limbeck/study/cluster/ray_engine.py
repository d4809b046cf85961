"""The engine that trains the models of a study as tasks of a Ray cluster."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import (
    OUT_OF_MEMORY,
    LimbeckError,
    LimbeckWarning,
    ResourceError,
    first_line,
)
from limbeck._base.progress import ProgressBoard, StageProgress
from limbeck._base.signals import check_interrupt
from limbeck.run.folder import RunFolder
from limbeck.store.answers import TeacherPass
from limbeck.store.key import Header
from limbeck.store.shards import Piece, Shards, compute_piece, pieces_of_shard
from limbeck.study.cluster.blocks import UnsendableError, compute_blocks
from limbeck.study.cluster.connection import Cluster, connect
from limbeck.study.cluster.coordinator import Coordinator, News
from limbeck.study.cluster.file_tensors import UnreadableSamplesError
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cluster.packing import pack
from limbeck.study.cluster.worker import Outcome, load_outcome, train, versions
from limbeck.study.engine import Engine, JobResult, RecordSeconds, TrainingJob

POLL_SECONDS = 0.25
"""Number of seconds between two looks at the trainings."""


@dataclass(frozen=True)
class PieceInputs:
    """The inputs of a piece.

    Attributes:
        piece: The piece.
        inputs: Inputs of its rows alone; None for all inputs of the pass.
        first: Index of the first row.
    """

    piece: Piece
    inputs: Tensor | None = None
    first: int | None = None


@dataclass(frozen=True)
class PieceComputation:
    """Computation of pieces of the shards of a store.

    Attributes:
        teacher_pass: Pass that computes the answers, without inputs unless its views mix samples.
        header: Header of the store.
    """

    teacher_pass: TeacherPass
    header: Header

    def to_device(self, device: torch.device) -> "PieceComputation":
        """The same computation with the teacher on a device."""
        return replace(self, teacher_pass=self.teacher_pass.on(device))

    def compute(self, part: PieceInputs) -> bytes:
        """Compute the content of a piece."""
        teacher_pass = self.teacher_pass
        if part.inputs is not None:
            inputs = part.inputs.to(teacher_pass.device)
            teacher_pass = replace(teacher_pass, inputs=inputs, first=part.first)
        return compute_piece(teacher_pass, self.header, part.piece)


@dataclass(frozen=True)
class ShardWork:
    """Pieces of the shards of a store.

    Attributes:
        teacher_pass: Pass that computes the answers.
        header: Header of the store.
        pieces: Pieces by their number.
    """

    teacher_pass: TeacherPass
    header: Header
    pieces: Sequence[Piece]

    @property
    def computation(self) -> PieceComputation:
        """Computation of a piece from its inputs."""
        whole_pass = self.teacher_pass
        if not whole_pass.views.mixes:
            whole_pass = replace(whole_pass, inputs=whole_pass.inputs[:0])
        return PieceComputation(whole_pass, self.header)

    def part(self, number: int) -> PieceInputs:
        """Return the inputs of a piece, which are not read here if they are on the disk."""
        piece = self.pieces[number]
        if self.teacher_pass.views.mixes:
            return PieceInputs(piece)
        return PieceInputs(piece, *self.teacher_pass.part(piece.first, piece.end))


@dataclass
class Task:
    """A training that has been submitted.

    Attributes:
        job: The training.
        reference: Reference to its outcome.
        start: Time at which it was submitted.
    """

    job: TrainingJob
    reference: Any
    start: float


class RayEngine(Engine):
    """Engine that trains each model or cohort as a task of a Ray cluster.

    Args:
        run: Folder for logs and checkpoints.
        trainer: Settings of the group ``trainer``.
        loggers: Functions that create a Lightning logger, called with ``save_dir``.
        progress: Progress display.
        launcher: Settings of the cluster.
    """

    def __init__(
        self,
        run: RunFolder,
        trainer: Mapping[str, Any],
        loggers: Sequence[Any],
        progress: StageProgress,
        launcher: Launcher,
    ):
        super().__init__(run, trainer, loggers, progress)
        self.launcher = launcher
        self._coordinator: Any = None
        self._cluster: Cluster | None = None

    @contextmanager
    def open(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Connect to the cluster, and open the loggers.

        Raises:
            ConfigError: If Ray is missing, or no machine has the cores and GPUs of a training.
            ResourceError: If the cluster cannot be reached.
        """
        with connect(self.launcher) as cluster, super().open(settings):
            self._cluster = cluster
            self._coordinator = cluster.start_actor(Coordinator, str(self.run.path.resolve()))
            try:
                yield
            finally:
                self._cluster = self._coordinator = None

    def fit(self, job: TrainingJob) -> None:
        """Fit a teacher in the cluster; see :meth:`Engine.fit`."""
        for result in self.fit_all([job], lambda stage, seconds, waited: None):
            if result.error is not None:
                raise result.error

    def fit_all(self, jobs: Iterable[TrainingJob], record: RecordSeconds) -> Iterator[JobResult]:
        """Fit several cohorts at the same time; see :meth:`Engine.fit_all`."""
        slots = 1 if self._cluster is None else self._cluster.slots
        remaining = iter(jobs)
        tasks: list[Task] = []
        counted = time.perf_counter()
        is_last = False
        with self.progress.board() as board:
            try:
                while tasks or not is_last:
                    while not is_last and len(tasks) < slots:
                        start = time.perf_counter()
                        job = next(remaining, None)
                        is_last = job is None
                        if job is not None:
                            tasks.append(self._submit(job))
                            board.add(job.stage, job.label, job.epochs)
                        if len(tasks) < 2:  # nothing else has been trained meanwhile
                            counted += time.perf_counter() - start
                    for task in self._ended(tasks, board):
                        tasks.remove(task)
                        try:
                            outcome = self._outcome(task)
                        except UnreadableSamplesError as error:
                            tasks.append(self._submit_again(task, error))
                            continue
                        now = time.perf_counter()
                        record(task.job.stage, outcome.seconds, now - counted)
                        counted = now
                        board.remove(task.job.stage)
                        load_outcome(task.job, outcome)
                        yield JobResult(task.job, outcome.error)
            finally:
                self._cancel(tasks)

    @property
    def trains_at_once(self) -> bool:
        """Whether several cohorts are trained at the same time."""
        return True

    def compute_shards(
        self, shards: Shards, advance: Callable[[int], object]
    ) -> Iterator[tuple[int, bytes]]:
        """Compute stored answers in the cluster; see :meth:`Engine.compute_shards`.

        A teacher that cannot be sent to other processes answers in this one.
        """
        try:
            yield from self._compute_remotely(shards, advance)
        except UnsendableError as error:
            warnings.warn(f"{error} Here it answers on this machine.", LimbeckWarning, stacklevel=2)
            yield from super().compute_shards(shards, advance)

    def _compute_remotely(
        self, shards: Shards, advance: Callable[[int], object]
    ) -> Iterator[tuple[int, bytes]]:
        assert self._cluster is not None
        teacher_pass, header = shards.teacher_pass, shards.header
        pieces: list[Piece] = []
        shard_of: list[int] = []
        numbers_of: dict[int, range] = {}  # of the pieces of each shard
        for shard in shards.numbers:
            parts = pieces_of_shard(teacher_pass, header, shard)
            numbers_of[shard] = range(len(pieces), len(pieces) + len(parts))
            pieces += parts
            shard_of += [shard] * len(parts)
        contents: dict[int, dict[int, bytes]] = {shard: {} for shard in shards.numbers}
        done = 0
        work = ShardWork(teacher_pass, header, pieces)
        for number, content in compute_blocks(work, range(len(pieces)), self._cluster):
            done += len(pieces[number])
            advance(done)
            shard = shard_of[number]
            contents[shard][number] = content
            if len(contents[shard]) == len(numbers_of[shard]):
                parts_of_shard = contents.pop(shard)
                yield shard, b"".join(parts_of_shard[n] for n in numbers_of[shard])

    def _submit(self, job: TrainingJob) -> Task:
        """Start a training in the cluster."""
        import ray
        from ray import cloudpickle

        assert self._cluster is not None
        models = job.task.modules()  # students, and projections of hints
        changing = [tensor for model in models for tensor in _tensors_of(model)]
        content, tensors = pack(job, cloudpickle.Pickler, changing=changing)
        options = {
            "num_cpus": self.launcher.cpus,
            "num_gpus": self.launcher.gpus,
            "max_retries": self.launcher.retries,
        }
        reference = (
            ray.remote(train)
            .options(**options)
            .remote(
                content,
                self.options,
                self.launcher.threads,
                versions(),
                self._coordinator,
                *map(self._cluster.share, tensors),
            )
        )
        return Task(job, reference, time.perf_counter())

    def _submit_again(self, task: Task, error: UnreadableSamplesError) -> Task:
        """Start a training again, whose machine cannot read the samples, and send them."""
        assert self._cluster is not None
        self._cluster.send_samples(error)
        return self._submit(task.job)

    def _ended(self, tasks: Sequence[Task], board: ProgressBoard) -> list[Task]:
        """Wait a moment, show what the trainings report, and return those that have ended.

        Raises:
            ResourceError: If the cluster is gone.
        """
        import ray
        from ray import exceptions

        if not tasks:
            return []
        check_interrupt()
        try:
            ready, _ = ray.wait([task.reference for task in tasks], timeout=POLL_SECONDS)
            news: News = ray.get(self._coordinator.news.remote())
        except exceptions.RayError as error:
            raise ResourceError(
                f"The cluster is gone: {first_line(error)} The checkpoints are kept: resume the "
                "run when the cluster is well again."
            ) from None
        for stage, (done, note) in news.progress.items():
            board.update(stage, done, note)
        for warning in news.warnings:
            warnings.warn(warning, LimbeckWarning, stacklevel=3)
        for row, step in news.metrics:
            for logger in self._loggers:
                logger.log_metrics(row, step)
        return [task for task in tasks if task.reference in ready]

    def _outcome(self, task: Task) -> Outcome:
        """Return the outcome of a training that has ended.

        Raises:
            LimbeckError: If the data or the teacher is at fault.
            ResourceError: If its machine was lost too often.
        """
        import ray
        from ray import exceptions

        try:
            outcome: Outcome = ray.get(task.reference)
        except exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, LimbeckError) else error from None
        except exceptions.OutOfMemoryError:
            reason = ResourceError(
                f"{OUT_OF_MEMORY} ran out on a machine of the cluster in the training of "
                f"{task.job.label}. Give each training more cores (launcher.cpus=2), so that fewer "
                "run on a machine, or train fewer students at once."
            )
            return Outcome({}, {}, time.perf_counter() - task.start, reason)
        except exceptions.RayError as error:
            raise ResourceError(
                f"The cluster lost the training of {task.job.label} "
                f"{self.launcher.retries + 1} times: {first_line(error)} Its checkpoints are kept: "
                "resume the run when the cluster is well again."
            ) from None
        return outcome

    def _cancel(self, tasks: Sequence[Task]) -> None:
        import ray

        for task in tasks:
            with suppress(Exception):  # the cluster may be gone
                ray.cancel(task.reference, force=True)


def _tensors_of(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters(recurse=False)
    yield from model.buffers(recurse=False)
