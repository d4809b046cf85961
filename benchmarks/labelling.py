"""Claim: writing a teacher's answers takes at most 1.15 times as long as its forward passes. n = 3.

A convolutional teacher answers all images of MNIST (``--short``: random ones) on one thread: a
loop over its forward passes alone, `limbeck answers` to a folder of Parquet files in this process,
and the same on a Ray cluster of one core. Counted is the time from the first block that arrives to
the last one, as a share of all blocks, so that the start of the cluster and of its worker, which
imports PyTorch, is left out.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from common import Contestant, Goal, alternate, arguments, fresh_folder, report, small_or_whole
from launcher import cluster_of

from limbeck.data import Dataset
from limbeck.models import ConvNet, Normalized
from limbeck.models.batch_size import CONVOLUTION_BATCH
from limbeck.study.answer_blocks import AnswerWork, ComputeBlocks, compute_in_turn
from limbeck.study.answer_export import write_answers
from limbeck.study.cluster.blocks import compute_blocks
from limbeck.study.cluster.connection import connect
from limbeck.study.cluster.launcher import Launcher
from limbeck.teacher.signal import LiveTeacher

PASSES, LOCAL, RAY = "forward passes", "this process", "launcher=ray, one core"


def forward_passes(model: torch.nn.Module, data: Dataset) -> None:
    """Compute the logits of all samples, and nothing else."""
    with torch.no_grad():
        for split in (data.train, data.val, data.open_test()):
            for inputs in split.inputs.split(CONVOLUTION_BATCH):
                model(inputs.float() / 255)


def write(model: torch.nn.Module, data: Dataset, compute: ComputeBlocks) -> float:
    """Write the answers, and return the seconds of all blocks without the start."""
    times: list[float] = []

    def timed(work: AnswerWork, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for number, content in compute(work, numbers):
            times.append(time.perf_counter())
            yield number, content
            times[-1] = time.perf_counter()  # after the block was written

    with fresh_folder() as folder:
        write_answers(LiveTeacher(model), data, folder / "answers", compute=timed)
    return (times[-1] - times[0]) * len(times) / (len(times) - 1)


def write_on_cluster(model: torch.nn.Module, data: Dataset) -> float:
    """Write the answers that a worker of a cluster computes."""
    with cluster_of(1), connect(Launcher(name="ray")) as cluster:
        return write(model, data, partial(compute_blocks, cluster=cluster))


def main() -> None:
    options = arguments(__doc__, repeats=3)
    torch.set_num_threads(1)
    data = small_or_whole(options)
    model = Normalized(ConvNet(data.shape, data.classes), *data.statistics).eval()
    seconds = alternate(
        {
            PASSES: Contestant(partial(forward_passes, model, data)),
            LOCAL: Contestant(partial(write, model, data, compute_in_turn)),
            RAY: Contestant(partial(write_on_cluster, model, data), warm=lambda: None),
        },
        options,
    )
    report(seconds, [Goal(LOCAL, PASSES, at_most=1.15), Goal(RAY, PASSES, at_most=1.15)], options)


if __name__ == "__main__":
    main()
