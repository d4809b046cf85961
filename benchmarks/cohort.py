"""Claim: a cohort of 64 students 784-50-10 takes at most 16 times as long as one student; ten take
at most 4 times as long. n = 5.

The 64 students have eight temperatures from 1 to 20 and eight seeds, each with another data order;
the ten students have ten temperatures and one seed; the single student has T = 4. Batches of 100,
Adam at 1e-3, MNIST's 55,000 training images, the teacher's logits in memory. The same code trains
one, ten and 64 students.

Time: an epoch of the training loop (the mean of the second to fourth of a fit) with its validation
on 5,000 images, CSV log and checkpoint, as in a study.
"""

import torch
from common import (
    MEAN,
    STD,
    Contestant,
    Goal,
    alternate,
    arguments,
    epoch_of_fit,
    report,
    small_or_whole,
)

from limbeck.data.study_data import StudyData
from limbeck.losses import Objective
from limbeck.models import MLP, Normalized
from limbeck.teacher.signal import StoredTeacher
from limbeck.training.cohort.stack import Cohort
from limbeck.training.task import DistillationTask

TEN = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0, 20.0)
EIGHT = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0)


def main() -> None:
    options = arguments(__doc__, device=True)
    data = small_or_whole(options)
    logits = torch.randn(len(data.train), 1, 10)

    def epoch(temperatures: tuple[float, ...], seeds: list[int]) -> float:
        students = [
            [Normalized(MLP(data.shape, 10, hidden=[50]), [MEAN], [STD]) for _ in seeds]
            for _ in temperatures
        ]
        objectives = [Objective(temperature=t) for t in temperatures]
        task = DistillationTask(
            Cohort(students),
            StoredTeacher(logits),
            objectives,
            arm_names=[f"T={t:g}" for t in temperatures],
            seeds=seeds,
        )
        return epoch_of_fit(task, StudyData(data, seeds=seeds, batch_size=100), options)

    contestants = {
        "one student": Contestant(lambda: epoch((4.0,), [0])),
        "ten students": Contestant(lambda: epoch(TEN, [0])),
        "64 students": Contestant(lambda: epoch(EIGHT, list(range(8)))),
    }
    seconds = alternate(contestants, options)
    goals = [
        Goal("64 students", "one student", at_most=16),
        Goal("ten students", "one student", at_most=4),
    ]
    report(seconds, goals, options)


if __name__ == "__main__":
    main()
