"""Claim: training a tiny student at ten temperatures, including the store, is 50 times faster than
the textbook loop. n = 3.

The student 784-50-10 is trained on soft targets only (squared error of the softened probabilities):
ten temperatures from 1 to 20, 14 epochs of MNIST's 55,000 training images in batches of 100, one
seed. The teacher 784-1200-1200-10 with dropout 0.5 is the same for both programs and untrained,
because its weights do not affect the time. Both validate on 5,000 images after every epoch.

Time of limbeck: a whole ``limbeck.Study`` with run folder, store of the teacher's answers (empty at
first), training of all students, checkpoints, logs, test of every student, and report. Time of the
textbook loop: one epoch at one temperature with the live teacher and the validation, times 140
(extrapolated, because all epochs take the same time). Building its models and loaders is not
included, in its favour. A second ratio leaves out its validation as well.
"""

from functools import partial

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
from textbook import Textbook, distillation_loss, loaders, network

from limbeck import Arm, Objective, Optimizer, RunOptions, Schedule, Study
from limbeck.models import MLP, Normalized

TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0, 20.0)
OBJECTIVE = {"hard_weight": 0.0, "soft_weight": 1.0, "soft": "probabilities"}


def main() -> None:
    options = arguments(__doc__, repeats=3)
    data = small_or_whole(options)
    epochs = 2 if options.short else 14
    arms = {f"T={t:g}": Arm(objective=Objective(temperature=t, **OBJECTIVE)) for t in TEMPERATURES}

    def study(epochs: int) -> None:
        teacher = Normalized(
            MLP(data.shape, 10, hidden=[1200, 1200], dropout=0.5), *data.statistics
        )
        with fresh_folder() as folder:
            Study(
                data,
                arms,
                student=partial(MLP, hidden=[50]),
                teacher=teacher,
                seeds=1,
                schedule=Schedule(epochs=epochs, batch_size=100, optimizer=Optimizer(lr=1e-3)),
                out=folder / "run",
                options=RunOptions(trainer=trainer_options(options), progress=False),
            ).run()

    with fresh_folder() as folder:
        train, val = loaders(data, folder, batch_size=100, workers=options.workers)
        teacher = network([784, 1200, 1200, 10], dropout=0.5)
        loss = distillation_loss(temperature=4.0, **OBJECTIVE)
        textbook = Textbook(network([784, 50, 10]), train, val, loss, teacher)
        contestants = {
            "limbeck": Contestant(lambda: study(epochs), warm=lambda: study(1)),
            "textbook loop": Contestant(textbook.epoch, times=epochs * len(TEMPERATURES)),
        }
        seconds = alternate(contestants, options)
    goals = [
        Goal("textbook loop", "limbeck", at_least=50),
        Goal("textbook loop, validation left out", "limbeck", at_least=50),
    ]
    note = f"1 epoch of 1 temperature x {epochs * len(TEMPERATURES)}"
    report(seconds, goals, options, {name: note for name in seconds if name != "limbeck"})


if __name__ == "__main__":
    main()
