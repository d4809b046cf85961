"""Blocks of a teacher's answers, computed on the machines of a Ray cluster."""

import pickle
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeAlias

import torch

from limbeck._base.errors import (
    OUT_OF_MEMORY,
    ConfigError,
    LimbeckError,
    ResourceError,
    first_line,
)
from limbeck._base.mapped_memory import MAPPED_FILES
from limbeck._base.signals import check_interrupt
from limbeck.study.cluster.connection import Cluster
from limbeck.study.cluster.fetch import fetch
from limbeck.study.cluster.file_tensors import FileTensor, UnreadableSamplesError
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cluster.packing import SharedTensor, pack
from limbeck.study.cluster.worker import check_versions, unpack_work, versions

POLL_SECONDS = 0.25
"""Number of seconds between two checks for an interrupt."""
MAX_AHEAD = 8
"""Number of blocks per slot that may be complete while an earlier one is still being computed."""
PackedPart: TypeAlias = tuple[bytes, list[FileTensor | SharedTensor]]
"""Bytes of the samples of a block, and the large tensors that they refer to."""


class UnsendableError(ConfigError):
    """A teacher that exists in one process alone, such as one with an open connection."""


class Computation(Protocol):
    """Computation of blocks from their samples; every worker receives it once."""

    def to_device(self, device: torch.device) -> "Computation":
        """The same computation on a device."""

    def compute(self, part: Any) -> bytes:
        """Compute the content of a block from its samples."""


class Work(Protocol):
    """Blocks to compute."""

    @property
    def computation(self) -> Computation:
        """Computation of the blocks."""

    def part(self, number: int) -> Any:
        """Return the samples of a block, which are sent to one worker."""


def compute_blocks(
    work: Work, numbers: Sequence[int], cluster: Cluster
) -> Iterator[tuple[int, bytes]]:
    """Compute blocks on a cluster.

    Each worker receives the computation once, and then the samples of one block after the other. It
    reads those in memory-mapped files itself, if it can. If a worker is lost, another one computes
    the block that it was working on.

    Args:
        work: The blocks.
        numbers: Numbers of the blocks.
        cluster: Cluster to which this process is connected.

    Yields:
        Number and content of each block, in almost any order: at most :data:`MAX_AHEAD` blocks per
        slot come before an earlier one.

    Raises:
        UnsendableError: If the teacher cannot be sent to other processes.
        LimbeckError: If the teacher is at fault, or versions differ.
        ResourceError: If a block lost its worker too often, or the cluster is gone.

    Warns:
        LimbeckWarning: If workers cannot read the files of the samples, which are then sent.
    """
    queue = _Queue(work, numbers, cluster)
    try:
        while queue.fill():
            check_interrupt()
            for reference in _ended(list(queue.running)):
                position = queue.running.pop(reference)
                try:
                    content = _content(reference, cluster.launcher)
                except UnreadableSamplesError as error:
                    queue.send_samples(position, error)
                else:
                    yield numbers[position], content
    finally:
        queue.cancel()


class _Queue:
    """The blocks that workers compute, and those that remain.

    Args:
        work: The blocks.
        numbers: Numbers of the blocks.
        cluster: Cluster to which this process is connected.

    Attributes:
        running: Positions in ``numbers`` of the blocks that were submitted, by their reference.
    """

    def __init__(self, work: Work, numbers: Sequence[int], cluster: Cluster):
        import ray

        self.work, self.numbers, self.cluster = work, numbers, cluster
        self.running: dict[Any, int] = {}
        self._again: list[int] = []
        self._next = 0
        self._arguments = self._send_computation()
        launcher = cluster.launcher
        self._compute = ray.remote(
            num_cpus=launcher.cpus,
            num_gpus=launcher.gpus,
            max_retries=launcher.retries,
            max_calls=0,  # or Ray would start a new process for each block on a GPU
        )(compute_block)

    def fill(self) -> bool:
        """Submit as many blocks as there are slots; returns whether any is being computed."""
        while len(self.running) < self.cluster.slots:
            position = self._choose()
            if position is None:
                break
            part = self._pack_part(self.work.part(self.numbers[position]))
            self.running[self._compute.remote(*self._arguments, part)] = position
        return bool(self.running)

    def _send_computation(self) -> tuple[str, list[Any], int, bool, Mapping[str, str]]:
        """Put the computation into shared memory; returns the arguments of all blocks."""
        import ray

        launcher = self.cluster.launcher
        # Not every worker has the device of this process.
        content, tensors = _pack(self.work.computation.to_device(torch.device("cpu")))
        return (
            uuid.uuid4().hex,
            [ray.put(content), *map(self.cluster.share, tensors)],  # fetched at first use
            launcher.threads,
            launcher.gpus > 0,
            versions(),
        )

    def _choose(self) -> int | None:
        """Return the position of the next block to submit; None if there is none at present."""
        if self._again:
            return self._again.pop()
        oldest = min(self.running.values(), default=self._next)
        if self._next == len(self.numbers) or self._next - oldest >= MAX_AHEAD * self.cluster.slots:
            return None
        self._next += 1
        return self._next - 1

    def _pack_part(self, part: Any) -> PackedPart:
        content, tensors = _pack(part)
        items: list[FileTensor | SharedTensor] = []
        for tensor in tensors:
            of_file = FileTensor.of(tensor) if self.cluster.reads_files else None
            items.append(SharedTensor.of(tensor) if of_file is None else of_file)
        MAPPED_FILES.release()
        return content, items

    def send_samples(self, position: int, error: UnreadableSamplesError) -> None:
        """Submit a block again, whose samples its worker could not read, and send all samples.

        Warns:
            LimbeckWarning: At the first time.
        """
        if self.cluster.reads_files:
            self.cluster.send_samples(error)
            self._arguments = self._send_computation()
        self._again.append(position)

    def cancel(self) -> None:
        """Cancel the blocks that are being computed."""
        import ray

        for reference in self.running:
            with suppress(Exception):  # the cluster may be gone
                ray.cancel(reference, force=True)


def _pack(content: Any) -> tuple[bytes, list[torch.Tensor]]:
    """Pack a computation or samples for other processes.

    Raises:
        UnsendableError: If a part of the teacher exists in this process alone.
    """
    from ray import cloudpickle

    try:
        return pack(content, cloudpickle.Pickler)
    except (TypeError, AttributeError, RuntimeError, pickle.PicklingError) as error:
        raise UnsendableError(
            f"The teacher cannot be sent to the workers of a cluster: {first_line(error)}"
        ) from None


def _ended(references: Sequence[Any]) -> list[Any]:
    """Wait a moment, and return the references of blocks that have ended.

    Raises:
        ResourceError: If the cluster is gone.
    """
    import ray
    from ray import exceptions

    if not references:
        return []
    try:
        ended: list[Any] = ray.wait([*references], timeout=POLL_SECONDS)[0]
    except exceptions.RayError as error:
        raise ResourceError(
            f"The cluster is gone: {first_line(error)} Check it with 'ray status', and start the "
            "same command again."
        ) from None
    return ended


def _content(reference: Any, launcher: Launcher) -> bytes:
    """Return the content of a block that has ended.

    Raises:
        LimbeckError: If the teacher is at fault, or versions differ.
        ResourceError: If memory ran out, or the block lost its worker too often.
    """
    import ray
    from ray import exceptions

    try:
        content: bytes = ray.get(reference)
    except exceptions.RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, LimbeckError) else error from None
    except exceptions.OutOfMemoryError:
        raise ResourceError(
            f"{OUT_OF_MEMORY} ran out on a machine of the cluster while the teacher answered. Give "
            "each worker more cores (launcher.cpus=2), so that fewer run on a machine."
        ) from None
    except exceptions.RayError as error:
        raise ResourceError(
            f"The cluster lost the workers of some samples {launcher.retries + 1} times: "
            f"{first_line(error)} Check the memory of its machines, and start the same command "
            "again."
        ) from None
    return content


IDLE_SECONDS = 30.0
"""Number of seconds after which a worker without a block releases the memory of its computation."""
_computations: dict[str, Computation] = {}
"""The computation that this process has received last."""
_timers: list[threading.Timer] = []
"""The timer that forgets the computation."""


def compute_block(
    key: str,
    references: Sequence[Any],
    threads: int,
    has_gpu: bool,
    expected: Mapping[str, str],
    part: PackedPart,
) -> bytes:
    """Compute a block in a worker.

    Args:
        key: Name of the computation.
        references: References of the packed computation, and of its large tensors.
        threads: Number of threads of PyTorch.
        has_gpu: Whether to compute on a GPU.
        expected: Versions on the machine of the study.
        part: Packed samples of the block.

    Raises:
        ConfigError: If versions differ, or a module is missing.
        UnreadableSamplesError: If the samples are in a file that this machine cannot read.
        LimbeckError: If the teacher is at fault.
    """
    while _timers:
        _timers.pop().cancel()
    computation = _computations.get(key)  # the timer may forget it at any time
    if computation is None:
        _computations.clear()
        check_versions(expected)
        torch.set_num_threads(threads)
        content, *tensors = fetch(list(references))
        packed: Computation = unpack_work(content, tensors)
        computation = packed.to_device(torch.device("cuda" if has_gpu else "cpu"))
        _computations[key] = computation
    try:
        return computation.compute(unpack_work(*part))
    finally:
        timer = threading.Timer(IDLE_SECONDS, _forget)
        timer.daemon = True
        timer.start()
        _timers.append(timer)


def _forget() -> None:
    """Release the computation, so that a training on the same device has its memory."""
    _computations.clear()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
