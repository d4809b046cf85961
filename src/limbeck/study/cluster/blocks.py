"""Blocks of a teacher's answers, computed on the machines of a Ray cluster with Ray Data."""

import logging
import pickle
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Protocol

import torch

from limbeck._base.errors import LimbeckError, ResourceError
from limbeck._base.signals import check_interrupt
from limbeck.study.cluster.connection import Cluster
from limbeck.study.cluster.packing import pack
from limbeck.study.cluster.worker import check_versions, unpack_work, versions
from limbeck.training.cohort.checkpoint_file import first_line

POLL_SECONDS = 0.25
"""Number of seconds between two checks for an interrupt."""
WAITING_BLOCKS = 2
"""Number of computed blocks that are held until they are written."""


class Work(Protocol):
    """Computation of blocks."""

    def to_device(self, device: torch.device) -> "Work":
        """The same computation with its samples on a device."""

    def compute(self, number: int) -> bytes:
        """Compute the content of a block."""


def compute_blocks(
    work: Work, numbers: Sequence[int], cluster: Cluster
) -> Iterator[tuple[int, bytes]]:
    """Compute blocks on a cluster.

    Each worker has the work in its memory and computes one block after the other. A worker that is
    lost starts again, and loses the block that it works on.

    Args:
        work: Computation of the blocks.
        numbers: Numbers of the blocks.
        cluster: Cluster to which this process is connected.

    Yields:
        Number and content of each block, in any order.

    Raises:
        LimbeckError: If the teacher is at fault, or versions differ.
        ResourceError: If workers were lost too often.
    """
    if not numbers:
        return
    import ray
    from ray import cloudpickle

    launcher = cluster.launcher
    # Not every worker has the device of this process.
    content, tensors = pack(work.to_device(torch.device("cpu")), cloudpickle.Pickler)
    arguments = (
        [ray.put(content), *map(cluster.share, tensors)],  # a list, which Ray Data does not copy
        launcher.threads,
        launcher.gpus > 0,
        versions(),
    )
    count = min(cluster.workers, len(numbers))
    with _quiet_ray_data() as data:
        blocks = data.from_items([{"number": n} for n in numbers], override_num_blocks=len(numbers))
        answers = blocks.map_batches(
            BlockWorker,
            fn_constructor_args=arguments,
            batch_size=1,
            compute=data.ActorPoolStrategy(min_size=1, max_size=count, initial_size=count),
            num_cpus=launcher.cpus,
            num_gpus=launcher.gpus,
            ray_remote_args_fn=partial(_retries, launcher.retries),
        )
        with closing(_rows(answers)) as rows:
            for row in rows:
                if row["error"]:
                    raise pickle.loads(row["error"])  # from a worker of this study
                yield int(row["number"]), row["content"]


class BlockWorker:
    """A worker that computes blocks.

    Args:
        references: References of the packed work, and of its large tensors.
        threads: Number of threads of PyTorch.
        has_gpu: Whether it computes on a GPU.
        expected: Versions on the machine of the study.
    """

    def __init__(
        self, references: Sequence[Any], threads: int, has_gpu: bool, expected: dict[str, str]
    ):
        self.references, self.threads = references, threads
        self.device = torch.device("cuda" if has_gpu else "cpu")
        self.expected = expected
        self._work: Work | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Compute the block of a batch with one row; an error becomes a part of the row."""
        content, error = b"", b""
        try:
            content = self._get_work().compute(int(batch["number"][0]))
        except LimbeckError as reason:
            error = pickle.dumps(reason)
        return {"number": batch["number"], "content": [content], "error": [error]}

    def _get_work(self) -> Work:
        """Return the work, received at first use, so that errors reach the study."""
        if self._work is None:
            import ray

            check_versions(self.expected)
            torch.set_num_threads(self.threads)
            content, *tensors = ray.get(list(self.references))
            work: Work = unpack_work(content, tensors)
            self._work = work.to_device(self.device)
        return self._work


def _retries(retries: int) -> dict[str, int]:
    """Return the options of workers with a limited number of restarts."""
    return {"max_restarts": retries, "max_task_retries": retries}


@contextmanager
def _quiet_ray_data() -> Iterator[Any]:
    """Import Ray Data, without its own progress display and messages."""
    from ray import data

    context = data.DataContext.get_current()
    before = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars = context.print_on_execution_start = False
    loggers = [logging.getLogger(name) for name in ("ray.data", "ray.util")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield data
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _rows(dataset: Any) -> Generator[dict[str, Any], None, None]:
    """Yield the rows of a Ray dataset. A thread waits for them, so that signals are seen at once.

    Raises:
        ResourceError: If workers or the cluster were lost.
    """
    rows: queue.Queue[Any] = queue.Queue(WAITING_BLOCKS)
    stopped = threading.Event()
    end = object()

    def put(item: Any) -> None:
        while not stopped.is_set():
            try:
                return rows.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for row in dataset.iter_rows():
                put(row)
                if stopped.is_set():
                    return
            put(end)
        except Exception as error:  # of Ray Data, in a thread
            put(error)

    threading.Thread(target=read, name="limbeck-blocks", daemon=True).start()
    try:
        while True:
            check_interrupt()
            try:
                row = rows.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if row is end:
                return
            if isinstance(row, Exception):
                raise ResourceError(
                    f"The cluster lost the workers that compute the teacher's answers: "
                    f"{first_line(row)} What is computed is kept: start again when the cluster is "
                    "well."
                ) from None
            yield row
    finally:
        stopped.set()
