"""Blocks of a teacher's answers, computed on the machines of a Ray cluster."""

import pickle
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import torch

from limbeck._base.errors import OUT_OF_MEMORY, ConfigError, LimbeckError, ResourceError
from limbeck._base.signals import check_interrupt
from limbeck.study.cluster.connection import Cluster
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cluster.packing import pack
from limbeck.study.cluster.worker import check_versions, unpack_work, versions
from limbeck.training.cohort.checkpoint_file import first_line

POLL_SECONDS = 0.25
"""Number of seconds between two checks for an interrupt."""


class UnsendableError(ConfigError):
    """A teacher that exists in one process alone, such as one with an open connection."""


class Work(Protocol):
    """Computation of blocks."""

    def to_device(self, device: torch.device) -> "Work":
        """The same computation on a device."""

    def compute(self, number: int) -> bytes:
        """Compute the content of a block."""


def compute_blocks(
    work: Work, numbers: Sequence[int], cluster: Cluster
) -> Iterator[tuple[int, bytes]]:
    """Compute blocks on a cluster.

    Each worker receives the work once, and then computes one block after the other. If a worker is
    lost, another one computes the block that it was working on.

    Args:
        work: Computation of the blocks.
        numbers: Numbers of the blocks.
        cluster: Cluster to which this process is connected.

    Yields:
        Number and content of each block, in any order.

    Raises:
        UnsendableError: If the teacher cannot be sent to other processes.
        LimbeckError: If the teacher is at fault, or versions differ.
        ResourceError: If a block lost its worker too often, or the cluster is gone.
    """
    import ray

    launcher = cluster.launcher
    # Not every worker has the device of this process.
    content, tensors = _pack(work.to_device(torch.device("cpu")))
    arguments = (
        uuid.uuid4().hex,
        [ray.put(content), *map(cluster.share, tensors)],  # in a list, fetched at first use alone
        launcher.threads,
        launcher.gpus > 0,
        versions(),
    )
    compute = ray.remote(
        num_cpus=launcher.cpus,
        num_gpus=launcher.gpus,
        max_retries=launcher.retries,
        max_calls=0,  # or Ray would start a new process for each block on a GPU
    )(compute_block)
    remaining = iter(numbers)
    running: dict[Any, int] = {}
    is_last = False
    try:
        while running or not is_last:
            while not is_last and len(running) < cluster.slots:
                number = next(remaining, None)
                is_last = number is None
                if number is not None:
                    running[compute.remote(*arguments, number)] = number
            check_interrupt()
            for reference in _ended(list(running)):
                number = running.pop(reference)
                yield number, _content(reference, launcher)
    finally:
        for reference in running:
            with suppress(Exception):  # the cluster may be gone
                ray.cancel(reference, force=True)


def _pack(work: Work) -> tuple[bytes, list[torch.Tensor]]:
    """Pack the work for other processes.

    Raises:
        UnsendableError: If a part of the teacher exists in this process alone.
    """
    from ray import cloudpickle

    try:
        return pack(work, cloudpickle.Pickler)
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
"""Number of seconds after which a worker without a block releases the memory of its work."""
_work_by_key: dict[str, Work] = {}
"""The work that this process has received last."""
_timers: list[threading.Timer] = []
"""The timer that forgets the work."""


def compute_block(
    key: str,
    references: Sequence[Any],
    threads: int,
    has_gpu: bool,
    expected: Mapping[str, str],
    number: int,
) -> bytes:
    """Compute a block in a worker.

    Args:
        key: Name of the work.
        references: References of the packed work, and of its large tensors.
        threads: Number of threads of PyTorch.
        has_gpu: Whether to compute on a GPU.
        expected: Versions on the machine of the study.
        number: Number of the block.

    Raises:
        ConfigError: If versions differ, or a module is missing.
        LimbeckError: If the teacher is at fault.
    """
    while _timers:
        _timers.pop().cancel()
    work = _work_by_key.get(key)  # the timer may forget it at any time
    if work is None:
        import ray

        _work_by_key.clear()
        check_versions(expected)
        torch.set_num_threads(threads)
        content, *tensors = ray.get(list(references))
        packed: Work = unpack_work(content, tensors)
        work = packed.to_device(torch.device("cuda" if has_gpu else "cpu"))
        _work_by_key[key] = work
    try:
        return work.compute(number)
    finally:
        timer = threading.Timer(IDLE_SECONDS, _forget)
        timer.daemon = True
        timer.start()
        _timers.append(timer)


def _forget() -> None:
    """Release the work, so that a training on the same device has its memory."""
    _work_by_key.clear()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
