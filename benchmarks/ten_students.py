"""Claim: training ten students (labels and distilled, five seeds each) is 15 times faster than
running the textbook loop ten times. n = 3.

The student 784-200-200-10 is trained on the first 10,000 images in batches of 32 for 50 epochs with
Adam at 1e-3: five seeds on labels, five distilled (T = 3, hard weight 0.2, soft cross-entropy
weight 0.8, no T^2). The teacher 784-800-800-10 with dropout 0.5 is the same for all programs and
untrained, because its weights do not affect the time. All programs validate on 5,000 images after
every epoch. The goal for torchdistill 1.1.5 and KD_Lib 0.0.32, also run ten times, is 10 times.

Time of limbeck: a whole ``limbeck.Study`` with run folder, store (empty at first), training,
checkpoints, logs, test and report. Time of the others: one epoch on labels and one distilled, each
with its validation, times 250 (extrapolated, because all epochs take the same time). Building
models and loaders is not included, in their favour.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import (
    Contestant,
    Goal,
    alternate,
    arguments,
    fresh_folder,
    report,
    small_or_whole,
    trainer_options,
)
from peers import installed, kd_lib_epoch, torchdistill_epoch
from textbook import Textbook, distillation_loss, loaders, network

from limbeck import Arm, Objective, Optimizer, RunOptions, Schedule, Study
from limbeck.data import Dataset
from limbeck.models import MLP, Normalized

TEMPERATURE, HARD, SOFT, SEEDS = 3.0, 0.2, 0.8, 5
OBJECTIVE = {"hard_weight": HARD, "soft_weight": SOFT, "temperature": TEMPERATURE}
OBJECTIVE |= {"soft": "cross_entropy", "scale_by_t2": False}
LABELS = {"hard_weight": 1.0, "soft_weight": 0.0}


def first_images(data: Dataset, count: int) -> Dataset:
    """Return the dataset with its first training images; validation and test stay."""
    small = copy.copy(data)
    small.train = data.train.take(torch.arange(min(count, len(data.train))))
    return small


def both(*epochs: Callable[[], Any]) -> Callable[[], dict[str, float] | None]:
    """Return a call that runs epochs one after the other and sums their seconds by name."""

    def run() -> dict[str, float] | None:
        seconds = [epoch() for epoch in epochs]
        if not seconds[0]:
            return None
        return {name: sum(part[name] for part in seconds) for name in seconds[0]}

    return run


def main() -> None:
    options = arguments(__doc__, repeats=3)
    data = first_images(small_or_whole(options), 10_000)
    epochs = 2 if options.short else 50
    arms = {
        "hard": Arm(objective=Objective(**LABELS)),
        "soft": Arm(objective=Objective(**OBJECTIVE)),
    }

    def study(epochs: int) -> None:
        teacher = Normalized(MLP(data.shape, 10, hidden=[800, 800], dropout=0.5), *data.statistics)
        with fresh_folder() as folder:
            Study(
                data,
                arms,
                student=partial(MLP, hidden=[200, 200]),
                teacher=teacher,
                seeds=SEEDS,
                schedule=Schedule(epochs=epochs, batch_size=32, optimizer=Optimizer(lr=1e-3)),
                out=folder / "run",
                options=RunOptions(trainer=trainer_options(options), progress=False),
            ).run()

    def student() -> torch.nn.Module:
        return network([784, 200, 200, 10])

    def teacher() -> torch.nn.Module:
        return network([784, 800, 800, 10], dropout=0.5)

    with fresh_folder() as folder:
        loader = loaders(data, folder, batch_size=32, workers=options.workers)
        hard = Textbook(student(), *loader, distillation_loss(**LABELS))
        soft = Textbook(student(), *loader, distillation_loss(**OBJECTIVE), teacher())
        others = {"textbook loop": both(hard.epoch, soft.epoch)}
        settings = {"temperature": TEMPERATURE, "soft_weight": SOFT}
        if installed("torchdistill"):
            distilled = torchdistill_epoch(
                student(), *loader, teacher=teacher(), hard_weight=HARD, **settings
            )
            others["torchdistill 1.1.5"] = both(torchdistill_epoch(student(), *loader), distilled)
        if installed("KD-Lib"):
            distilled = kd_lib_epoch(student(), *loader, folder, teacher=teacher(), **settings)
            others["KD_Lib 0.0.32"] = both(kd_lib_epoch(student(), *loader, folder), distilled)
        contestants = {"limbeck": Contestant(lambda: study(epochs), warm=lambda: study(1))}
        contestants |= {
            name: Contestant(call, times=epochs * SEEDS) for name, call in others.items()
        }
        seconds = alternate(contestants, options)
    goals = [Goal("textbook loop", "limbeck", at_least=15)]
    goals += [Goal("textbook loop, validation left out", "limbeck", at_least=15)]
    goals += [
        Goal(name, "limbeck", at_least=10) for name in ("torchdistill 1.1.5", "KD_Lib 0.0.32")
    ]
    note = f"1 epoch on labels and 1 distilled x {epochs * SEEDS}"
    report(seconds, goals, options, {name: note for name in seconds if name != "limbeck"})


if __name__ == "__main__":
    main()
