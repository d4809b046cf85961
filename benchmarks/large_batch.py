"""Claim: an epoch with batches of 8,192 is 5 times faster than that of the textbook loop, and takes
at most 1.3 times as long as its matrix products. n = 5.

784-800-800-10 is distilled from 784-1200-1200-10 with dropout 0.5 (untrained, because its weights
do not affect the time), with shifts of up to 2 pixels, T = 20, hard weight 0.3, soft weight 0.7,
Adam at 1e-3, on MNIST's 55,000 training images.

Time: an epoch (the mean of the second to fourth of a fit) with the validation on 5,000 images, log
and checkpoint of a study; the logits of all 25 views are in memory. The limit is the time of the
student's matrix products, forward and backward, with the same shapes. An epoch of the textbook loop
has a RandomAffine per image, the live teacher, and the same validation. For the ratio to it,
limbeck's time includes its share of the store: such a student trains for 600 epochs and the teacher
runs on 25 views once, so the store of one view is built in each repetition, and 25 / 600 of that
time is added.
"""

import torch
from common import (
    Contestant,
    Goal,
    alternate,
    arguments,
    autocast,
    build_store,
    clock,
    epoch_of_fit,
    fresh_folder,
    report,
    small_or_whole,
)
from limit import Products, matrix_rate, rate
from textbook import Textbook, distillation_loss, loaders, network

from limbeck.data import NoViews, Shift
from limbeck.data.study_data import StudyData
from limbeck.losses import Objective
from limbeck.models import MLP, Normalized
from limbeck.teacher.signal import StoredTeacher
from limbeck.training.task import DistillationTask

BATCH, EPOCHS, PIXELS = 8192, 600, 2
STUDENT, TEACHER = [784, 800, 800, 10], [784, 1200, 1200, 10]
OBJECTIVE = {"temperature": 20.0, "hard_weight": 0.3, "soft_weight": 0.7}


def main() -> None:
    options = arguments(__doc__, device=True)
    data, views = small_or_whole(options), Shift(PIXELS)
    stored = StoredTeacher(torch.randn(len(data.train), views.count, 10).half())
    teacher = Normalized(MLP(data.shape, 10, hidden=TEACHER[1:-1], dropout=0.5), [0.5], [0.5])

    def ours() -> dict[str, float]:
        student = Normalized(MLP(data.shape, 10, hidden=STUDENT[1:-1]), [0.5], [0.5])
        task = DistillationTask(student, stored, Objective(**OBJECTIVE), seeds=[0])
        epoch = epoch_of_fit(
            task, StudyData(data, seeds=[0], batch_size=BATCH, views=views), options
        )
        with fresh_folder() as empty:
            began = clock()
            build_store(teacher, data, NoViews(), empty, options.device)
            share = (clock() - began) * views.count / EPOCHS
        return {"limbeck": epoch, "limbeck and its share of the store": epoch + share}

    dtype = torch.bfloat16 if options.precision == "bf16-mixed" else torch.float32
    where = {"device": options.device, "dtype": dtype}
    products = Products(STUDENT, min(BATCH, len(data.train)), len(data.train), **where)
    with fresh_folder() as folder:
        train, val = loaders(
            data, folder, batch_size=BATCH, workers=options.workers, mean=0.5, std=0.5, shift=PIXELS
        )
        models = {"student": network(STUDENT), "teacher": network(TEACHER, dropout=0.5)}
        where_and_how = {"device": options.device, "precision": autocast(options)}
        textbook = Textbook(
            train=train, val=val, loss=distillation_loss(**OBJECTIVE), **models, **where_and_how
        )
        contestants = {
            "limbeck": Contestant(ours),
            "textbook loop": Contestant(textbook.epoch),
            "the student's matrix products": Contestant(products.epoch),
        }
        seconds = alternate(contestants, options)
    goals = [
        Goal("textbook loop", "limbeck and its share of the store", at_least=5),
        Goal(
            "textbook loop, validation left out", "limbeck and its share of the store", at_least=5
        ),
        Goal("limbeck", "the student's matrix products", at_most=1.3),
    ]
    size = 256 if options.short else 2048
    rates = {
        "rate_of_a_large_product": f"{matrix_rate(**where, size=size):.0f} GF/s",
        "rate_at_the_student's_shapes": f"{rate(products.step, products.step_flops):.0f} GF/s",
    }
    report(seconds, goals, options, **rates)


if __name__ == "__main__":
    main()
