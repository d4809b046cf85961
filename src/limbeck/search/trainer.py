"""Training of the students of a search: their results are kept, and their weights are not."""

import math
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from limbeck._base.errors import DivergedError, LimbeckError, LimbeckWarning, ResourceError
from limbeck.report.formats import plural
from limbeck.study.choice import validation_value
from limbeck.study.cohorts import CohortPlan
from limbeck.study.engine import JobResult, TrainingJob
from limbeck.study.students import StudentTrainer

Values = Mapping[str, float | None]
"""Results on the validation split by the names of trials; None for a training that failed."""


@dataclass(frozen=True)
class SearchCohort(CohortPlan):
    """A cohort of a round of a search.

    Attributes:
        round: Number of the round.
        is_short: Whether it is the short training of the round.
    """

    round: int = 0
    is_short: bool = False

    @property
    def stage(self) -> str:
        """Name of the cohort's logs and checkpoints."""
        short = "-short" if self.is_short else ""
        return f"round{self.round}{short}-cohort{self.number}"


@dataclass(kw_only=True)
class TrialTrainer(StudentTrainer):
    """Trainer of the students of a search.

    Attributes:
        epochs: Number of epochs of a whole training.
    """

    epochs: int

    def train_round(
        self, cohorts: Sequence[SearchCohort], add_values: Callable[[Values], None]
    ) -> None:
        """Train the cohorts of a round. A cohort that fails does not stop the others.

        Args:
            cohorts: Cohorts to train.
            add_values: Function to call with the results of each cohort.

        Raises:
            ResourceError: If memory ran out, after all others.
        """
        self.cohorts = cohorts
        self.add_values = add_values
        error = self.train()
        if error is not None:
            raise error

    def _all_cohorts(self) -> list[CohortPlan]:
        """Return all cohorts as if each was trained to the end.

        The first ones have a short training, by which the teacher's answers would seem to be hardly
        worth a store.
        """
        return [
            replace(cohort, arms=[replace(arm, epochs=self.epochs) for arm in cohort.arms])
            for cohort in super()._all_cohorts()
        ]

    def _is_done(self, cohort: CohortPlan) -> bool:
        return False  # a round has the students without a result alone

    def _job(self, plan: CohortPlan) -> TrainingJob:
        job = super()._job(plan)
        first, last = plan.arms[0].name, plan.arms[-1].name
        name = first if first == last else f"{first} to {last}"
        label = f"{name}, {plural(len(plan.arms), 'student')}"
        if isinstance(plan, SearchCohort) and plan.is_short:
            label += ", short training"
        return replace(job, label=label)

    def _finish(self, plan: CohortPlan, result: JobResult) -> LimbeckError | None:
        """Score the students of a cohort on the validation split, and forget them.

        Without enough memory they have no result, so that a search that goes on trains them again.
        """
        error = result.error
        if isinstance(error, ResourceError):
            return error
        if error is not None and not isinstance(error, DivergedError):
            warnings.warn(f"{result.job.label}: {error}", LimbeckWarning, stacklevel=2)
        values: dict[str, float | None] = {arm.name: None for arm in plan.arms}
        if error is None:
            task = result.job.task
            diverged = {arm for arm, _, _ in task.divergence.students}
            for arm, _, model in task.cohort.members():
                if arm in diverged:
                    continue
                value = validation_value(model, plan.seeds[0], self.pools.splits)
                values[plan.arms[arm].name] = value if math.isfinite(value) else None
        self.add_values(values)
        for folder in (self.run.checkpoints, self.run.logs):  # the report is about other students
            shutil.rmtree(folder / plan.stage, ignore_errors=True)
        return None


def search_cohorts(
    cohorts: Sequence[CohortPlan], round_number: int, *, is_short: bool
) -> list[SearchCohort]:
    """Return the cohorts of a round, whose logs and checkpoints have names of their own.

    Args:
        cohorts: Cohorts as those of a study.
        round_number: Number of the round.
        is_short: Whether they are those of the short training.
    """
    return [
        SearchCohort(cohort.number, cohort.arms, cohort.seeds, round_number, is_short)
        for cohort in cohorts
    ]
