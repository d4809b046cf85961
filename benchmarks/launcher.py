"""Claim: two workers of one thread each finish a sweep of students that cannot be stacked 1.7 times
sooner than one. n = 3.

Eight convolutional students with BatchNorm (``--short``: two), of 8 to 22 channels, each a cohort
of its own, on 4,000 images; labels only. A study with ``launcher=ray`` on a cluster of one core and
on one of two, both started on this machine, and the same study in this process. Time: the whole
study, with the start of the cluster and of its workers, which import PyTorch. The cluster may add
5 s and 5 % to the time of one process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from common import (
    Contestant,
    Goal,
    alternate,
    arguments,
    clock,
    fresh_folder,
    report,
    small_or_whole,
)
from ten_students import first_images
from torch import nn

from limbeck import Arm, Objective, RunOptions, Schedule, Study
from limbeck.data import Dataset
from limbeck.study.cluster.connection import START_ATTEMPTS

LABELS = Objective(hard_weight=1.0, soft_weight=0.0)
PLAIN, ONE, TWO = "this process", "launcher=ray, one core", "launcher=ray, two cores"
STARTED = ", cluster started"
ALLOWED_SECONDS, ALLOWED_SHARE = 5.0, 1.05
"""Time that the cluster may add to that of one process."""


class ConvNetWithNorm(nn.Sequential):
    """A small convolutional network with BatchNorm, whose students are trained one at a time."""

    def __init__(self, channels: int):
        super().__init__(
            nn.Conv2d(1, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2 * channels, 10),
        )


def sweep(data: Dataset, arms: int, epochs: int, name: str, cores: int | None) -> dict[str, float]:
    """Run the study, in this process or on a cluster with a number of cores.

    Returns:
        Seconds with the start and the end of the cluster, and without.
    """
    students = {
        f"channels{8 + 2 * i}": Arm(objective=LABELS, student=partial(ConvNetWithNorm, 8 + 2 * i))
        for i in range(arms)
    }
    launcher = "local" if cores is None else "ray"
    began = clock()
    with fresh_folder() as folder, cluster_of(cores):
        study = Study(
            data,
            students,
            seeds=1,
            schedule=Schedule(epochs=epochs, batch_size=64),
            out=folder / "run",
            options=RunOptions(launcher=launcher, progress=False, examples=0),
        )
        started = clock()
        study.run()
        seconds = clock() - started
    return {name: clock() - began, name + STARTED: seconds}


@contextmanager
def cluster_of(cores: int | None) -> Iterator[None]:
    """Start Ray with a number of cores for the block; None for no cluster."""
    if cores is None:
        yield
        return
    import ray

    settings = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    settings["address"] = "local"  # and no other cluster of this machine
    for attempt in range(START_ATTEMPTS):
        try:
            ray.init(num_cpus=cores, **settings)
            break
        except Exception:  # Ray gives up after 30 s on a busy machine
            ray.shutdown()
            if attempt == START_ATTEMPTS - 1:
                raise
    try:
        yield
    finally:
        ray.shutdown()


def main() -> None:
    options = arguments(__doc__, repeats=3)
    torch.set_num_threads(1)
    data = first_images(small_or_whole(options), 500 if options.short else 4_000)
    arms, epochs = (2, 1) if options.short else (8, 20)
    study = partial(sweep, data, arms, epochs)
    contestants = {
        name: Contestant(partial(study, name, cores), warm=partial(sweep, data, 1, 1, name, cores))
        for name, cores in ((PLAIN, None), (ONE, 1), (TWO, 2))
    }
    seconds = alternate(contestants, options)
    seconds["allowed for one core"] = [
        ALLOWED_SECONDS + ALLOWED_SHARE * value for value in seconds[PLAIN]
    ]
    goals = [
        Goal(ONE + STARTED, TWO + STARTED, at_least=1.7),
        Goal(ONE, "allowed for one core", at_most=1.0),
    ]
    report(seconds, goals, options)


if __name__ == "__main__":
    main()
