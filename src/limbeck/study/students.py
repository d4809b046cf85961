"""Training of the students, cohort by cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from limbeck._base.errors import LimbeckError, ResourceError
from limbeck.data import Dataset
from limbeck.data.model_facts import model_facts
from limbeck.data.padding import describe_lengths
from limbeck.data.resampling import SplitPart
from limbeck.data.study_data import StudyData
from limbeck.models import load_model, save_model
from limbeck.report.formats import plural
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import ManifestWriter
from limbeck.store.answers import digest_of
from limbeck.store.settings import StoreSettings
from limbeck.study.arms import ArmPlan, build
from limbeck.study.cohorts import CohortPlan
from limbeck.study.engine import Engine, JobResult, TrainingJob
from limbeck.study.pools import TransferPools
from limbeck.study.run_folder import check_digest
from limbeck.study.saved_models import record_models, unsaved_models, warn_of_damage
from limbeck.study.scores import Students
from limbeck.study.targets import TeacherSignals
from limbeck.study.teacher_scores import Teachers
from limbeck.teacher.signal import TeacherSignal
from limbeck.training.cohort.stack import Cohort
from limbeck.training.task import DistillationTask

MAX_ARM_NAMES = 3
"""Maximum number of arms that the label of a cohort names."""


@dataclass(kw_only=True)
class StudentTrainer:
    """Trainer of the students of a study, which saves them in the run folder.

    Attributes:
        data: Dataset of the study.
        run: Folder of the run.
        manifest: Manifest of the run.
        engine: Engine that fits the cohorts.
        pools: Sample pools of the transfer sets.
        store: Settings of the store for the teacher's answers.
        teachers: Teacher of each training and validation split; none without a teacher.
        cohorts: Cohorts of the study.
        batch_size: Batch size of every student.
        processes: Number of processes that train together.
        repeats: Number of times that cohorts like these are trained, so that answers that are
            stored for all of them may be less work than those of a teacher that is run each time.
    """

    data: Dataset
    run: RunFolder
    manifest: ManifestWriter
    engine: Engine
    pools: TransferPools
    store: StoreSettings
    teachers: Teachers
    cohorts: Sequence[CohortPlan]
    batch_size: int
    processes: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        self._signals: TeacherSignals | None = None
        self._has_described_lengths = False

    def train(self) -> LimbeckError | None:
        """Train all cohorts that are not trained yet.

        A cohort that diverges or runs out of memory does not stop the others. Its students are
        recorded as failures in the manifest.

        Returns:
            First error of a cohort; None if there was no error.
        """
        first_error: LimbeckError | None = None
        if self.data.padding is not None and not self._has_described_lengths:
            self._has_described_lengths = True
            inputs, padding = self.data.train.inputs, self.data.padding
            self.engine.progress.say(describe_lengths(inputs, padding, self.batch_size))
        plans = [cohort for cohort in self.cohorts if not self._is_done(cohort)]
        if self.engine.trains_at_once:
            plans.sort(key=lambda plan: plan.work, reverse=True)  # no long one is alone at the end
            for plan in plans:  # or a store would wait for the trainings before it
                self._signal(plan)
        cohorts = {plan.stage: plan for plan in plans}
        jobs = map(self._job, cohorts.values())
        for result in self.engine.fit_all(jobs, self.manifest.add_training):
            error = self._finish(cohorts[result.job.stage], result)
            first_error = first_error or error
            del result  # it would keep the cohort in memory while the next one is created
        return first_error

    def students(self, plans: Sequence[ArmPlan], seeds: Sequence[int]) -> Students:
        """Return functions that load the trained students of arms."""
        return {
            (plan.name, seed): partial(self._load, plan, seed) for plan in plans for seed in seeds
        }

    def _load(self, plan: ArmPlan, seed: int) -> nn.Module:
        folder = self.run.student(plan.name, seed)
        return load_model(folder, lambda: build(plan.student, self.data, seed)).model

    def _is_done(self, cohort: CohortPlan) -> bool:
        """Whether every student of a cohort is saved or has failed."""
        folders = []
        for plan, seed in cohort.students():
            if plan.student_name(seed) not in self.manifest.failed:
                folders.append(self.run.student(plan.name, seed))
        unsaved, damages = unsaved_models(self.run, self.manifest, folders)
        warn_of_damage(damages, f"The students of a cohort ({_label(cohort)}) are")
        return not unsaved

    def _job(self, plan: CohortPlan) -> TrainingJob:
        """Create the students of a cohort, and what they are trained on."""
        first = plan.arms[0]
        with self.manifest.time_stage("store"):
            pool = self.pools.get(first.transfer)
        source = first.transfer.source
        if source is not None:
            name = f"inputs: {self.pools.label(source)}"
            check_digest(self.manifest, self.run, name, digest_of(pool.inputs))
        signal = self._signal(plan)
        cohort = Cohort(
            [[build(arm.student, self.data, seed) for seed in plan.seeds] for arm in plan.arms]
        )
        data = StudyData(
            self.data,
            seeds=plan.seeds,
            batch_size=self.batch_size,
            views=first.views,
            transfer=first.transfer,
            pool=pool,
            parts=self._parts(plan),
        )
        task = DistillationTask(
            cohort,
            signal,
            [arm.objective.for_labels(data.labels, self.data.classes) for arm in plan.arms],
            optimizer=[arm.optimizer for arm in plan.arms],
            arm_names=[arm.name for arm in plan.arms],
            seeds=plan.seeds,
            scale=self.data.target_scale,
        )
        return TrainingJob(
            stage=plan.stage, label=_label(plan), task=task, data=data, epochs=first.epochs
        )

    def _finish(self, plan: CohortPlan, result: JobResult) -> LimbeckError | None:
        """Save the students of a cohort, or record why there are none; return the error."""
        error = result.error
        if self.processes > 1 and isinstance(error, ResourceError):
            raise error  # the other processes wait for this one within a step
        if error is not None:
            self._record_failures(plan, error)
        self._record_diverged(plan, result.job.task)
        if error is None:
            self._save(plan, result.job.task.cohort)
        return error

    def _parts(self, plan: CohortPlan) -> list[SplitPart]:
        """Seeds of a cohort with their samples."""
        parts = self.pools.splits.parts(plan.seeds)
        if plan.arms[0].transfer.source is not None:  # its inputs are those of no split
            parts = [replace(part, rows=None) for part in parts]
        return parts

    def _signal(self, plan: CohortPlan) -> TeacherSignal | None:
        """Return the teacher's signal for a cohort; None if all its arms are controls."""
        if not any(arm.objective.needs_teacher for arm in plan.arms):
            return None
        if self._signals is None:
            assert self.teachers
            self._signals = TeacherSignals(
                self.teachers,
                self.pools,
                self.store,
                self._all_cohorts(),
                precision=self.engine.precision,
                device=self.engine.device,
                progress=self.engine.progress,
                compute=self.engine.compute_shards,
            )
        with self.manifest.time_stage("store"):
            signal = self._signals.get(plan.arms[0], plan.seeds)
            self.manifest.add_stores(self._signals.stores)
        return signal

    def _all_cohorts(self) -> list[CohortPlan]:
        """Return all cohorts that read the teacher's answers, each as often as it does."""
        return [*self.cohorts] * self.repeats

    def _record_failures(self, plan: CohortPlan, error: LimbeckError) -> None:
        """Record an error that ended a cohort for all students without an earlier failure."""
        reasons = {arm.student_name(seed): str(error) for arm, seed in plan.students()}
        self.manifest.add_failures({**reasons, **self.manifest.failed})

    def _record_diverged(self, plan: CohortPlan, task: DistillationTask) -> None:
        reasons = {}
        for arm, seed, reason in task.divergence.students:
            reasons[plan.arms[arm].student_name(plan.seeds[seed])] = reason
        self.manifest.add_failures(reasons)

    def _save(self, plan: CohortPlan, cohort: Cohort) -> None:
        """Save the students that have not failed, and list their files in the manifest."""
        folders = []
        for arm_index, seed_index, model in cohort.members():
            arm, seed = plan.arms[arm_index], plan.seeds[seed_index]
            name = arm.student_name(seed)
            is_finite = all(p.isfinite().all() for p in model.parameters())
            if not is_finite and name not in self.manifest.failed:  # diverged in the last steps
                reason = f"Training diverged: weights of {name} are not finite."
                self.manifest.add_failures({name: reason})
            if name not in self.manifest.failed:
                folder = self.run.student(arm.name, seed)
                folders.append(folder)
                save_model(model, folder, **model_facts(self.data))
        record_models(self.manifest, folders)


def _label(plan: CohortPlan) -> str:
    """Return the label of a cohort, such as ``hard, soft x 5 seeds``."""
    names = ", ".join(arm.name for arm in plan.arms)
    if len(plan.arms) > MAX_ARM_NAMES:
        names = f"{len(plan.arms)} arms"
    return f"{names} x {plural(len(plan.seeds), 'seed')}"


def training_seconds(
    plans: Sequence[ArmPlan], cohorts: Sequence[CohortPlan], cohort_seconds: Mapping[str, float]
) -> dict[str, float]:
    """Return the training time of each arm: its share of the time of its cohorts.

    Args:
        plans: All arms.
        cohorts: All cohorts.
        cohort_seconds: Training time of each cohort, by its stage.
    """
    seconds = {}
    for plan in plans:
        shares = []
        for cohort in cohorts:
            if plan.name in [arm.name for arm in cohort.arms]:
                shares.append(cohort_seconds.get(cohort.stage, 0.0) / len(cohort.arms))
        seconds[plan.name] = sum(shares)
    return seconds
