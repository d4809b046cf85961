"""Claim: a cohort of 10 students 784-50-10 costs at most 4 times one. Ratio of medians, n = 5.

Ten temperatures from 1 to 20 of one seed, batches of 100, the teacher's logits at hand. Inside the clock: one epoch
over the training images with Adam through the Trainer, its construction included. The same code trains one student
and ten.
"""

import torch
from common import alternate, arguments, report, small_or_whole

from limbeck.data.batches import StudyData
from limbeck.losses import Objective
from limbeck.models import MLP, Normalized
from limbeck.teacher.signal import StoredTeacher
from limbeck.training.cohort import Cohort
from limbeck.training.fit import make_trainer, quiet_lightning, run_fit
from limbeck.training.module import DistillationModule

TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0, 20.0)


def main() -> None:
    options = arguments(__doc__)
    data = small_or_whole(options)
    signal = StoredTeacher(torch.randn(len(data.train), 1, 10, generator=torch.Generator().manual_seed(0)))

    def epoch(temperatures: tuple[float, ...]) -> None:
        students = [[Normalized(MLP(data.shape, 10, hidden=[50]), [0.1307], [0.3081])] for _ in temperatures]
        objectives = [Objective(temperature=t) for t in temperatures]
        names = [f"T={t:g}" for t in temperatures]
        module = DistillationModule(Cohort(students), signal, objectives, arm_names=names, seeds=[0])
        with quiet_lightning():
            trainer = make_trainer(epochs=1, options={"accelerator": "cpu", "limit_val_batches": 0})
            run_fit(module, trainer=trainer, datamodule=StudyData(data, seeds=[0], batch_size=100))

    contestants = {"one student": lambda: epoch((4.0,)), "ten students as a cohort": lambda: epoch(TEMPERATURES)}
    seconds = alternate(contestants, 1 if options.short else options.repeats)
    report("a cohort of 10 students 784-50-10 costs at most 4 times one", seconds, options)


if __name__ == "__main__":
    main()
