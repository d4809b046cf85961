"""Training of a teacher: a model, or the members of an ensemble."""

from collections.abc import Callable, Sequence
from itertools import groupby

from torch import nn

from limbeck._base.errors import DivergedError
from limbeck.data.resampling import ResampledSplits
from limbeck.data.study_data import StudyData
from limbeck.losses import Objective
from limbeck.study.arms import Builder, Teacher, build
from limbeck.study.engine import TrainingJob
from limbeck.study.teacher_learning import warn_if_untaught
from limbeck.training.cohort.stack import Cohort, reason_not_to_stack
from limbeck.training.task import DistillationTask

Fit = Callable[[TrainingJob], None]
"""Function that fits a model."""


def builder_of(plan: Teacher) -> Builder:
    """Return the function that builds the model of a teacher."""
    assert plan.model is not None
    return plan.model


def distinct(kinds: Sequence[Teacher]) -> list[Teacher]:
    """Return each kind once, in order; their settings need not be hashable."""
    result: list[Teacher] = []
    for kind in kinds:
        if kind not in result:
            result.append(kind)
    return result


def train_members(
    plan: Teacher, splits: ResampledSplits, fit: Fit, *, together: bool
) -> list[list[nn.Module]]:
    """Train the members of a teacher for all splits.

    Args:
        plan: Teacher to train.
        splits: Training and validation splits of the study.
        fit: Function that fits a model.
        together: Whether members of one kind that can be stacked are trained at once.

    Returns:
        The members for each split.

    Raises:
        DivergedError: If the training diverged.
    """
    kinds = plan.kinds * splits.count
    models: dict[int, nn.Module] = {}
    stage = 0
    for kind in distinct(kinds):
        seeds = [plan.seed + i for i, other in enumerate(kinds) if other == kind]
        members = [build(builder_of(kind), splits.data, seed) for seed in seeds]
        if together and reason_not_to_stack(members[0], len(members)) is None:
            groups = [(Cohort([members]), seeds)]
        else:
            alone = zip(members, seeds, strict=True)
            groups = [(Cohort.of_one(model), [seed]) for model, seed in alone]
        for cohort, numbers in groups:
            label = _label(numbers, total=len(kinds))
            task, data = _training(plan, kind, splits, cohort, numbers)
            fit(
                TrainingJob(
                    stage=f"teacher{stage}", label=label, task=task, data=data, epochs=kind.epochs
                )
            )
            if task.divergence.students:
                _, _, reason = task.divergence.students[0]
                raise DivergedError(reason)
            warn_if_untaught(task, splits.data, kind)
            stage += 1
            for seed, (_, _, model) in zip(numbers, cohort.members(), strict=True):
                models[seed] = model
    ordered = [models[seed] for seed in sorted(models)]
    size = plan.size_of_ensemble
    return [ordered[first : first + size] for first in range(0, len(ordered), size)]


def _label(seeds: Sequence[int], *, total: int) -> str:
    """Return the label of members that are trained together, such as ``teachers 0 to 4``."""
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"teachers {seeds[0]} to {seeds[-1]}"
    if len(seeds) > 1:
        return f"teachers {', '.join(map(str, seeds))}"
    return "teacher" if total == 1 else f"teacher {seeds[0]}"


def _training(
    plan: Teacher,
    kind: Teacher,
    splits: ResampledSplits,
    cohort: Cohort,
    seeds: Sequence[int],
) -> tuple[DistillationTask, StudyData]:
    """Return the task and the batches of members of one kind."""
    task = DistillationTask(
        cohort,
        None,
        [Objective(hard_weight=1.0, soft_weight=0.0).for_task(splits.data.kind)],
        optimizer=kind.optimizer,
        arm_names=["teacher"],
        seeds=seeds,
        scale=splits.data.target_scale,
    )
    groups = groupby(seeds, lambda seed: (seed - plan.seed) // plan.size_of_ensemble)
    data = StudyData(
        splits.data,
        seeds=seeds,
        batch_size=kind.batch_size,
        views=kind.views,
        pool=splits.pool,
        parts=[splits.part(number, list(group)) for number, group in groups],
    )
    return task, data
