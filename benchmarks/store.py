"""Claim: building a store takes at most 1.3 times as long as its teacher's matrix products, and
reading it adds less than 5 % to a step. n = 5.

Building: the answers of 784-1200-1200-10 (dropout 0.5, untrained, because its weights do not affect
the time) for 60,000 images in 25 views, shifts of up to 2 pixels. The time includes computing the
views, running the teacher, conversion to float16, writing, the digests of the key, and the check
against the teacher. The limit is the time of the same matrix products in batches of the same size,
measured for one view of the 25 (extrapolated).

Reading: an epoch (the mean of the second to fourth of a fit) of 784-800-800-10 on 55,000 images
with shifts in batches of 256, including validation, log and checkpoint, once with logits read from
such a store on the disk, once with a constant tensor of logits. The difference may be smaller than
the noise of the measurement, so the time to read the logits of an epoch is also measured alone.
"""

import copy

import torch
from common import (
    Contestant,
    Goal,
    alternate,
    arguments,
    build_store,
    epoch_of_fit,
    fresh_folder,
    report,
    small_or_whole,
)
from limit import Products, matrix_rate, rate

from limbeck.data import Dataset, Shift
from limbeck.data.batches import TrainBatches
from limbeck.data.dataset import Split
from limbeck.data.study_data import StudyData
from limbeck.losses import Objective
from limbeck.models import MLP, Normalized
from limbeck.models.batch_size import LINEAR_BATCH
from limbeck.teacher.signal import TeacherSignal
from limbeck.training.task import DistillationTask

BATCH = 256
STUDENT, TEACHER = [784, 800, 800, 10], [784, 1200, 1200, 10]


class Constant(TeacherSignal):
    """The same logits for every batch."""

    def __init__(self) -> None:
        self.logits = torch.randn(1, BATCH, 10)

    def __call__(
        self, x: torch.Tensor, sample: torch.Tensor | None, view: torch.Tensor | None
    ) -> torch.Tensor:
        """Return logits ``[1, B, 10]``."""
        return self.logits[:, : x.shape[1]]


def with_validation(data: Dataset) -> Dataset:
    """Return the dataset with all 60,000 images in its training split."""
    everything = copy.copy(data)
    inputs = torch.cat([data.train.inputs, data.val.inputs])
    everything.train = Split(inputs, torch.cat([data.train.labels, data.val.labels]))
    return everything


def main() -> None:
    options = arguments(__doc__)
    data, views = small_or_whole(options), Shift(2)
    everything = with_validation(data)
    teacher = Normalized(MLP(data.shape, 10, hidden=TEACHER[1:-1], dropout=0.5), *data.statistics)
    products = Products(TEACHER, min(LINEAR_BATCH, len(everything.train)), len(everything.train))
    study = StudyData(data, seeds=[0], batch_size=BATCH, views=views)

    def build() -> None:
        with fresh_folder() as folder:
            build_store(teacher, everything, views, folder)

    def epoch(signal: TeacherSignal) -> float:
        student = Normalized(MLP(data.shape, 10, hidden=STUDENT[1:-1]), *data.statistics)
        return epoch_of_fit(
            DistillationTask(student, signal, Objective(), seeds=[0]), study, options
        )

    with fresh_folder() as folder:
        stored = build_store(teacher, data, views, folder)
        batches = TrainBatches(
            data.train,
            study.index,
            study.labels,
            views=views,
            seeds=[0],
            batch_size=BATCH,
            epoch=lambda: 0,
        )
        rows = [(batch.sample, batch.view) for batch in batches]
        one = torch.zeros(1)
        contestants = {
            "building the store": Contestant(build, warm=lambda: None),
            "the teacher's matrix products": Contestant(products.forward_epoch, times=views.count),
            "an epoch, stored logits": Contestant(lambda: epoch(stored)),
            "an epoch, constant logits": Contestant(lambda: epoch(Constant())),
            "the look-ups of an epoch alone": Contestant(
                lambda: [stored(one, *row) for row in rows][:0] or None
            ),
        }
        seconds = alternate(contestants, options)
    goals = [
        Goal("building the store", "the teacher's matrix products", at_most=1.3),
        Goal("an epoch, stored logits", "an epoch, constant logits", at_most=1.05),
        Goal("the look-ups of an epoch alone", "an epoch, constant logits", at_most=0.05),
    ]
    large_rate = matrix_rate(size=256 if options.short else 2048)
    teacher_rate = rate(products.forward, products.forward_flops)
    rates = {
        "rate_of_a_large_product": f"{large_rate:.0f} GF/s",
        "rate_at_the_teacher's_shapes": f"{teacher_rate:.0f} GF/s",
    }
    report(
        seconds,
        goals,
        options,
        {"the teacher's matrix products": f"1 view x {views.count}"},
        **rates,
    )


if __name__ == "__main__":
    main()
