"""Claim: writing a teacher's answers takes at most 1.15 times as long as its forward passes. n = 3.

A convolutional teacher answers all images of MNIST (``--short``: random ones) on one thread: a
loop over its forward passes alone, `limbeck answers` to a folder of Parquet files in this process,
and the same on a Ray cluster of one core. Counted is what passes from the first block that arrives
to the last one, as a share of all blocks, so that the start of the cluster and of its worker, which
imports PyTorch, is left out. Judged is the CPU time of the processes that answer and write, because
other programs may run beside them; Ray's own processes are no part of it. Seconds of the clock are
shown, too.
"""

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from common import Contestant, Goal, alternate, arguments, fresh_folder, report, small_or_whole
from launcher import cluster_of

from limbeck.data import Dataset
from limbeck.models import ConvNet, Normalized
from limbeck.models.batch_size import CONVOLUTION_BATCH
from limbeck.study.answer_blocks import (
    AnswerComputation,
    AnswerWork,
    ComputeBlocks,
    Samples,
    compute_in_turn,
)
from limbeck.study.answer_export import write_answers
from limbeck.study.cluster.blocks import compute_blocks
from limbeck.study.cluster.connection import connect
from limbeck.study.cluster.launcher import Launcher
from limbeck.teacher.signal import LiveTeacher

PASSES, LOCAL, RAY = "forward passes", "this process", "launcher=ray, one core"
CPU = ", CPU time"
STAMP = "d"  # the CPU time of a process


@dataclass(frozen=True)
class StampedComputation:
    """A computation that puts the CPU time of its process before each block."""

    inner: AnswerComputation

    def to_device(self, device: torch.device) -> "StampedComputation":
        """The same computation on a device."""
        return StampedComputation(self.inner.to_device(device))

    def compute(self, part: Samples) -> bytes:
        """Compute a block, with the CPU time of this process before it."""
        content = self.inner.compute(part)
        return struct.pack(STAMP, time.process_time()) + content


@dataclass(frozen=True)
class StampedWork:
    """Blocks of a stamped computation."""

    work: AnswerWork

    @property
    def computation(self) -> StampedComputation:
        """Computation of a block."""
        return StampedComputation(self.work.computation)

    def part(self, number: int) -> Samples:
        """Return the samples of a block."""
        return self.work.part(number)


def forward_passes(model: torch.nn.Module, data: Dataset) -> dict[str, float]:
    """Compute the logits of all samples, and nothing else."""
    start, cpu = time.perf_counter(), time.process_time()
    with torch.no_grad():
        for split in (data.train, data.val, data.open_test()):
            for inputs in split.inputs.split(CONVOLUTION_BATCH):
                model(inputs.float() / 255)
    return {PASSES: time.perf_counter() - start, PASSES + CPU: time.process_time() - cpu}


def write(
    name: str, model: torch.nn.Module, data: Dataset, compute: ComputeBlocks
) -> dict[str, float]:
    """Write the answers, and return the seconds of all blocks without the start."""
    times: list[float] = []
    own: list[float] = []
    workers: list[float] = []

    def timed(work: AnswerWork, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for number, content in compute(StampedWork(work), numbers):
            times.append(time.perf_counter())
            own.append(time.process_time())
            workers.extend(struct.unpack_from(STAMP, content))
            yield number, content[struct.calcsize(STAMP) :]
            times[-1], own[-1] = time.perf_counter(), time.process_time()  # after the writing

    with fresh_folder() as folder:
        write_answers(LiveTeacher(model), data, folder / "answers", compute=timed)
    cpu = own[-1] - own[0]
    if name == RAY:  # another process, which the cluster has one of
        cpu += workers[-1] - workers[0]
    share = len(times) / (len(times) - 1)
    return {name: (times[-1] - times[0]) * share, name + CPU: cpu * share}


def main() -> None:
    options = arguments(__doc__, repeats=3)
    torch.set_num_threads(1)
    data = small_or_whole(options)
    model = Normalized(ConvNet(data.shape, data.classes), *data.statistics).eval()
    with cluster_of(1), connect(Launcher(name="ray")) as cluster:
        remotely = partial(compute_blocks, cluster=cluster)
        contestants = {
            PASSES: Contestant(partial(forward_passes, model, data)),
            LOCAL: Contestant(partial(write, LOCAL, model, data, compute_in_turn)),
            RAY: Contestant(partial(write, RAY, model, data, remotely)),
        }
        seconds = alternate(contestants, options)
    goals = [Goal(name + CPU, PASSES + CPU, at_most=1.15) for name in (LOCAL, RAY)]
    report(seconds, goals, options)


if __name__ == "__main__":
    main()
