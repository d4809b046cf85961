"""Checkpoints of the training loop, from which a training resumes with identical results.

The newest two are kept: if one is damaged, the training goes on from the one before.
"""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor

from limbeck._base.errors import ConfigError, LimbeckWarning, first_line
from limbeck.run.checkpoints import GENERATIONS, checkpoint_files, step_of
from limbeck.training.cohort.checkpoint_file import (
    LOAD_ERRORS,
    UnusableError,
    read_checkpoint,
    write_checkpoint,
)
from limbeck.training.cohort.redistribution import (
    random_state,
    redistribute,
    restore_random_state,
)
from limbeck.training.cohort.save_times import SaveTimes
from limbeck.training.cohort.shards import (
    SUFFIX,
    check_digests,
    copy_of,
    empty_shards,
    folder_of,
    own_digests,
    put_shards,
    read_shards,
    remove_shards,
    take_shards,
    write_shards,
)
from limbeck.training.csv_logger import CSVLogger
from limbeck.training.sharded_strategy import mesh_of
from limbeck.training.task import DistillationTask

T = TypeVar("T")
FORMAT = "limbeck 3"
EARLIER_FILE = "last.ckpt"
"""Name of the checkpoints of version 0.1.0, which were those of Lightning's Trainer."""


class Position(NamedTuple):
    """Position in a training.

    Attributes:
        epoch: Number of finished epochs.
        batch: Number of batches of the next epoch that are done.
        step: Number of optimizer steps.
    """

    epoch: int
    batch: int
    step: int


START = Position(0, 0, 0)


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: Folder of the checkpoints; None to save none.
        fabric: Fabric of the training; its first process writes.
        task: Students and their losses.
        parts: Other objects with a ``state_dict``, by name.

    Attributes:
        times: Times at which to save one.
    """

    def __init__(
        self, folder: Path | None, fabric: Fabric, task: DistillationTask, parts: dict[str, Any]
    ):
        self.fabric = fabric
        self.folder = folder
        self.mesh = mesh_of(fabric)
        if fabric.world_size > 1:  # that of the first process
            self.folder = folder = fabric.broadcast(folder)
        self.task = task
        self.parts = {"task": task, **parts}
        self._files: list[Path] = []  # those that can be read, the newest first
        self._can_write = True
        self.times = SaveTimes(fabric, is_enabled=folder is not None)

    # Loading --------------------------------------------------------------------------------------

    def load(self) -> Position:
        """Restore the training from the newest checkpoint that can be used.

        Returns:
            The position of the checkpoint; the start of the training if there is none.

        Warns:
            LimbeckWarning: If a checkpoint is damaged, or of other students or another version.
        """
        files = [] if self.folder is None else checkpoint_files(self.folder)
        self._check_visible(files)
        unusable: list[tuple[Path, str]] = []
        if not files and self.folder is not None and (self.folder / EARLIER_FILE).is_file():
            unusable.append((self.folder / EARLIER_FILE, "was written by an earlier version"))
        for number, file in enumerate(files):
            try:
                position = self._restore(file)
            except UnusableError as error:
                unusable.append((file, str(error)))
                continue
            self._files = files[number:][:GENERATIONS]
            if unusable:
                steps = step_of(files[0]) - position.step
                self._warn(
                    f"{_list(unusable)}. The training goes on from the checkpoint before it, so "
                    f"{steps} steps are repeated."
                )
            return position
        if unusable:
            self._warn(f"{_list(unusable)}. These students are trained from the first epoch.")
        return START

    def _check_visible(self, files: list[Path]) -> None:
        """Check that all processes see the same checkpoints, so that they start at the same step.

        Raises:
            ConfigError: If they do not.
        """
        for rank, names in enumerate(self._gather([file.name for file in files])):
            if names != [file.name for file in files]:
                raise ConfigError(
                    f"{self.folder} is not the same folder for process {rank} as for process "
                    f"{self.fabric.global_rank}. To resume a training on several machines, put the "
                    "run folder on a disk that they share (out=DIR)."
                )

    def _warn(self, message: str) -> None:
        if self.fabric.is_global_zero:
            warnings.warn(message, LimbeckWarning, stacklevel=3)

    def _restore(self, file: Path) -> Position:
        """Restore the training from a checkpoint, or leave it as it is.

        Raises:
            UnusableError: If the checkpoint is damaged, or of other students or another version.
        """
        content: dict[str, Any] = {}
        with self._same_error():
            content = self._read(file)
        initial = copy_of(self._state())
        try:
            position = _position_of(content["position"])
            states = content["processes"]
            if len(states) == self.fabric.world_size:
                own = states[self.fabric.global_rank]
            else:
                own = redistribute(states, self.task, position.epoch, self.fabric.global_rank)
            self._load_state(self._with_shards(file, content) | own)
        except (*LOAD_ERRORS, UnusableError) as error:
            self._load_state(initial)
            if isinstance(error, UnusableError):
                raise
            raise UnusableError(f"belongs to other students ({first_line(error)})") from None
        return position

    def _read(self, file: Path) -> dict[str, Any]:
        """Read a checkpoint, and check that its shares are those that were written."""
        content = read_checkpoint(file)
        if content.get("format") != FORMAT:
            raise UnusableError("was written by another version")
        if content.get("students") != self.task.prefixes:
            raise UnusableError("belongs to other students")
        digests = content.get("shards")
        if self.mesh is not None and digests is None:
            raise UnusableError("was written without trainer.strategy=fsdp")
        check_digests(folder_of(file), digests, self.fabric.global_rank, self.fabric.world_size)
        return content

    def _with_shards(self, file: Path, content: dict[str, Any]) -> dict[str, Any]:
        """Return the content of a checkpoint with this process's shares of the weights."""
        if content.get("shards") is None:
            return content
        state = {name: content[name] for name in self.parts}
        shards = empty_shards(state, self.mesh)
        read_shards(folder_of(file), shards)
        return content | put_shards(state, shards)

    @contextmanager
    def _same_error(self) -> Iterator[None]:
        """Raise the error of any process in all of them, which would wait for each other."""
        error: UnusableError | None = None
        try:
            yield
        except UnusableError as own:
            error = own
        reasons = self._gather(None if error is None else str(error))
        reason = next(filter(None, reasons), None)
        if reason is not None:
            raise UnusableError(reason)

    def _load_state(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.task.load_epoch_state(state["epoch"])
        restore_random_state(state["random"])

    # Saving ---------------------------------------------------------------------------------------

    def save(self, position: Position) -> None:
        """Save a checkpoint, and remove all but the newest two.

        If it cannot be written, as on a full disk, the training goes on and the earlier checkpoints
        stay.

        Args:
            position: Position of the training, right after an optimizer step.

        Warns:
            LimbeckWarning: If it cannot be written.
        """
        assert self.folder is not None
        start = time.monotonic()
        file = self.folder / f"step{position.step}.ckpt"
        facts: dict[str, Any] = {
            "format": FORMAT,
            "position": list(position),
            "students": self.task.prefixes,
            "processes": self._gather(self._own_state()),
        }
        try:
            state = self._common_state()
            if self.mesh is not None:
                state, facts["shards"] = self._write_shards(file, state)
            if self.fabric.is_global_zero:
                self._sync_logs()
                write_checkpoint(file, {**state, **facts})
        except OSError as error:
            self._warn_once(error)
        else:
            if self.fabric.is_global_zero:
                self._can_write = True
                self._keep(file)
        self.times.add(start, time.monotonic())

    def _write_shards(
        self, file: Path, state: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Write the shares of all processes, each its own.

        Returns:
            The state without them, and the digests of their files.

        Raises:
            OSError: If a process cannot write its share.
            ConfigError: If the processes do not see the same folder.
        """
        folder = folder_of(file)
        if self.fabric.is_global_zero:
            remove_shards(folder)  # those of a process that was killed
            with suppress(OSError):  # then no process sees the folder
                folder.mkdir(parents=True)
        self.fabric.barrier()
        sees = self._gather(folder.is_dir())
        if not sees[0]:
            raise OSError(None, "the folder cannot be created", str(folder))
        if not all(sees):
            raise ConfigError(
                f"{folder} is not visible to process {sees.index(False)}. With "
                "trainer.strategy=fsdp all machines write into the run folder, so it should be on "
                "a disk that they share (out=DIR)."
            )
        shards: dict[str, Tensor] = {}
        described = take_shards(state, shards)
        write_shards(folder, shards)
        digests = self._gather(own_digests(folder, self.fabric.global_rank))
        return described, {name: digest for part in digests for name, digest in part.items()}

    def _state(self) -> dict[str, Any]:
        return {**self._common_state(), **self._own_state()}

    def _common_state(self) -> dict[str, Any]:
        """State that is the same in all processes."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def _own_state(self) -> dict[str, Any]:
        """State that each process has of its own."""
        return {"epoch": self.task.epoch_state(), "random": random_state()}

    def _gather(self, state: T) -> list[T]:
        """Gather a value of each process, in order."""
        states: list[Any] = [state] * self.fabric.world_size
        if self.fabric.world_size > 1:
            torch.distributed.all_gather_object(states, state)
        return states

    def _sync_logs(self) -> None:
        """Flush the rows of finished epochs to the disk, which a resumed run does not log again."""
        for logger in self.fabric.loggers:
            if isinstance(logger, CSVLogger):
                logger.sync()

    def _keep(self, file: Path) -> None:
        """Keep this checkpoint and the last one before it; remove all others."""
        assert self.folder is not None
        earlier = [path for path in self._files if path != file]
        self._files = [file, *earlier][:GENERATIONS]
        for path in checkpoint_files(self.folder):
            if path not in self._files:
                with suppress(OSError):
                    path.unlink()
        for folder in self.folder.glob(f"*{SUFFIX}"):
            if folder.with_suffix(file.suffix) not in self._files:
                remove_shards(folder)

    def _warn_once(self, error: OSError) -> None:
        """Warn about the first of several checkpoints that cannot be written."""
        if not self._can_write:
            return
        self._can_write = False
        place = f"step {step_of(self._files[0])}" if self._files else "the first epoch"
        self._warn(
            f"{error.filename} cannot be written ({error.strerror}). The training goes on and "
            "limbeck tries again every minute. If the run is interrupted before that, it is "
            f"resumed from {place}."
        )


def _position_of(values: Any) -> Position:
    position = Position(*values)
    if not all(type(value) is int and value >= 0 for value in position):
        raise ValueError(f"its position is {values!r}")
    return position


def _list(unusable: list[tuple[Path, str]]) -> str:
    """List files and what is wrong with them, the first with its folder."""
    file, reason = unusable[0]
    others = "".join(f", and {other.name} {why}" for other, why in unusable[1:])
    return f"{file} {reason}{others}"
