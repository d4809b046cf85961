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

OnValues = Callable[[Mapping[str, float | None]], None]


@dataclass(frozen=True)
class SearchCohort(CohortPlan):
    """A cohort of a round of a search.

    Attributes:
        round: Number of the round.
    """

    round: int = 0

    @property
    def stage(self) -> str:
        """Name of the cohort's logs and checkpoints."""
        return f"round{self.round}-cohort{self.number}"


@dataclass(kw_only=True)
class TrialTrainer(StudentTrainer):
    """Trainer of the students of a search.

    Attributes:
        on_values: Function to call with the results of a cohort by the names of its arms, None for
            a student whose training failed.
    """

    on_values: OnValues

    def train_round(self, cohorts: Sequence[SearchCohort]) -> None:
        """Train the cohorts of a round. A cohort that fails does not stop the others.

        Raises:
            ResourceError: If memory ran out, after all others.
        """
        self.cohorts = cohorts
        error = self.train()
        if error is not None:
            raise error

    def _is_done(self, cohort: CohortPlan) -> bool:
        return False  # a round has the students without a result alone

    def _job(self, plan: CohortPlan) -> TrainingJob:
        job = super()._job(plan)
        first, last = plan.arms[0].name, plan.arms[-1].name
        name = first if first == last else f"{first} to {last}"
        return replace(job, label=f"{name}, {plural(len(plan.arms), 'student')}")

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
            diverged = {arm for arm, _, _ in task.diverged}
            for arm, _, model in task.cohort.members():
                if arm in diverged:
                    continue
                value = validation_value(model, plan.seeds[0], self.pools.splits)
                values[plan.arms[arm].name] = value if math.isfinite(value) else None
        self.on_values(values)
        for folder in (self.run.checkpoints, self.run.logs):  # the report is about other students
            shutil.rmtree(folder / plan.stage, ignore_errors=True)
        return None


def search_cohorts(cohorts: Sequence[CohortPlan], round_number: int) -> list[SearchCohort]:
    """Return the cohorts of a round, whose logs and checkpoints have names of their own."""
    return [
        SearchCohort(cohort.number, cohort.arms, cohort.seeds, round_number) for cohort in cohorts
    ]
