"""The study: teacher, students, scores, comparisons and report."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

from limbeck._base.checks import seed_list
from limbeck._base.errors import ConfigError, DivergedError, TeacherError
from limbeck._base.progress import StageProgress
from limbeck._base.signals import check_interrupt
from limbeck.data import Dataset, Split, TransferSet, Views
from limbeck.data.class_names import class_order_hint
from limbeck.data.resampling import ResampledSplits
from limbeck.losses import Objective
from limbeck.report.formats import plural
from limbeck.report.page import write_report
from limbeck.run.finding import Finding
from limbeck.run.manifest import ManifestWriter
from limbeck.run.summary import Summary, write_summary
from limbeck.store.folder import check_folder
from limbeck.store.settings import StoreSettings
from limbeck.study.answers import AnswersSource, no_score, no_training
from limbeck.study.arms import Arm, ArmPlan, Builder, Teacher
from limbeck.study.checks import (
    check_disk,
    check_margin,
    check_options,
    check_records,
    check_source,
    check_splits,
    check_student,
    check_transfer,
)
from limbeck.study.choice import choose_on_validation
from limbeck.study.cluster.choice import make_engine
from limbeck.study.cluster.launcher import Launcher
from limbeck.study.cohorts import CohortPlan, plan_cohorts
from limbeck.study.embeddings import with_dimensions
from limbeck.study.examination import examine_study, examine_teacher
from limbeck.study.options import RunOptions, Schedule
from limbeck.study.output_files import (
    save_adjusted,
    write_examples,
    write_metrics,
    write_predictions,
)
from limbeck.study.planning import plan_arms
from limbeck.study.pools import TransferPools
from limbeck.study.results import StudyFacts, check_summary, empty_summary, summarize
from limbeck.study.run_folder import check_digest, open_run, remove_checkpoints, study_folder
from limbeck.study.scores import Students
from limbeck.study.scoring import score
from limbeck.study.settings import settings_of
from limbeck.study.students import StudentTrainer, training_seconds
from limbeck.study.targets import check_kind, limit_views
from limbeck.study.teacher import TeacherSource, with_teacher
from limbeck.study.teacher_scores import Teachers
from limbeck.teacher.adapt import TeacherModels
from limbeck.teacher.answer_files.read import Answers
from limbeck.teacher.signal import LiveTeacher
from limbeck.training.fabric import process_of, quiet_lightning
from limbeck.training.options import TrainerOptions


class Study:
    """One dataset, one teacher and several arms over the same seeds, compared at the end.

    Args:
        data: Dataset with training, validation and test splits.
        arms: Arms by name; each is trained once per seed.
        student: Function that builds the untrained student, for arms without one of their own.
        teacher: Teacher to train or load; a trained model of any kind, as for
            :func:`limbeck.distill`, or several; :class:`limbeck.Answers`; or None without one.
        views: Views of the inputs, for arms without views of their own.
        transfer: Samples to train students on, for arms without a transfer set of their own.
        seeds: Number of seeds (5 means 0 to 4), or a list of seeds.
        schedule: Epochs, batch size and optimizer of the students.
        out: Folder of the run, or address such as ``s3://bucket/run``.
        options: Name, store, devices and other options of the run.

    Raises:
        ConfigError: If an argument is out of range.
        TeacherError: If an arm needs a teacher and ``teacher`` is None.
    """

    def __init__(
        self,
        data: Dataset,
        arms: Mapping[str, Arm],
        *,
        student: Builder | None = None,
        teacher: Teacher | TeacherModels | Answers | None = None,
        views: Views | None = None,
        transfer: TransferSet | None = None,
        seeds: int | Sequence[int] = 5,
        schedule: Schedule | None = None,
        out: str | Path = "runs/study",
        options: RunOptions | None = None,
    ):
        if not isinstance(data, Dataset):
            raise ConfigError(
                f"data is of type {type(data).__name__}; expected a limbeck.data.Dataset, such as "
                "Dataset.from_arrays(x, y, x_test, y_test)."
            )
        self.data = data = with_dimensions(data, teacher)
        self.seeds = seed_list(seeds)
        self.schedule = schedule or Schedule()
        self.options = options or RunOptions()
        # answers of a file need no store
        is_file = isinstance(teacher, Answers)
        self.store = StoreSettings.of("off" if is_file else self.options.store)
        defaults = Arm(
            objective=Objective(),
            student=student,
            views=views,
            transfer=transfer,
            optimizer=self.schedule.optimizer,
            epochs=self.epochs,
        )
        self.plans = self._plan(arms, defaults)
        for plan in self.plans:
            if plan.objective.needs_teacher and teacher is None:
                raise TeacherError(
                    f"arms.{plan.name} learns from a teacher, but the study has none "
                    "(teacher=none)."
                )
        with quiet_lightning():
            self.rank, self.processes = process_of(dict(self.options.trainer))
        self.run_folder = study_folder(out, self.rank, self.options)
        self.progress = StageProgress(enabled=self.options.progress and self.rank == 0)
        self._engine = make_engine(self.options, self.run_folder, self.progress)
        check_splits(self.options.splits, self.seeds, self.plans, data)
        self._splits = ResampledSplits(data, self.seeds, self.options.splits)
        self._teacher: TeacherSource | AnswersSource | None = None
        if isinstance(teacher, Answers):
            self._teacher = AnswersSource(teacher, self._splits, self.run_folder, self.plans)
        elif teacher is not None:
            self._teacher = TeacherSource(
                teacher,
                self._splits,
                self.run_folder,
                self._engine.fit,
                together=self._engine.trains_cohorts,
                is_sharded=TrainerOptions.of(self.options.trainer).is_sharded,
                progress=self.progress,
            )
        self.plans = with_teacher(self.plans, self._teacher)
        sources = [plan.transfer.source for plan in self.plans if plan.transfer.source is not None]
        self._pools = TransferPools(self._splits, sources, self.run_folder, self.progress)
        self._is_checked = False

    @property
    def epochs(self) -> int:
        """Number of training epochs; ``trainer.max_epochs`` takes precedence."""
        return self.options.trainer.get("max_epochs") or self.schedule.epochs

    def cohorts(self) -> list[CohortPlan]:
        """Return the arms and seeds of each cohort."""
        return plan_cohorts(
            self.plans,
            self.seeds,
            self.data,
            self.schedule.batch_size,
            together=self._engine.trains_cohorts,
            limit=Launcher.of(self.options.launcher).students,
        )

    def size(self) -> str:
        """Return the number of arms, seeds, students and cohorts as a line of text."""
        students = len(self.plans) * len(self.seeds)
        return (
            f"{plural(len(self.plans), 'arm')} x {plural(len(self.seeds), 'seed')}: "
            f"{plural(students, 'student')} in {plural(len(self.cohorts()), 'cohort')}"
        )

    def check(self, *, examine: bool = True) -> None:
        """Check all settings before anything is written or trained; called by :meth:`run`.

        Args:
            examine: Whether a teacher that exists already is examined on the validation split.

        Raises:
            ConfigError: If a setting does not fit the dataset or machine, or ``out`` is in use.
            TeacherError: If the teacher is missing or does not fit the dataset.
        """
        self.run_folder.check(resume=self.options.resume, overwrite=self.options.overwrite)
        if self._is_checked:
            return
        check_options(self.options, self.data)
        has_teacher = self._teacher is not None and self._teacher.is_scored
        check_margin(self.options, self.data, has_teacher=has_teacher)
        if self.store.mode != "off" and any(plan.objective.needs_teacher for plan in self.plans):
            check_folder(self.store.root)
            check_kind(self.plans, self.store, self.data)
        check_records(self.plans, self.data, self.options)
        for plan in self.plans:
            check_source(plan, self.data)
            check_student(plan, self.data, self.options.trainer)
            check_transfer(plan, self.data, self._available_pool(plan))
        check_summary(self.options.name, self.plans, self.data)
        if self._teacher is not None:
            self._teacher.check()
            self._teacher.check_arms(self.plans)
        if not self.options.resume:
            folder = self.run_folder.existing_folder()
            check_disk(folder, self.plans, len(self.seeds), self.data)
            if examine and self.options.check_teacher:
                examine_teacher(self._teacher, self._engine.device)
        self._is_checked = examine

    def examine(self) -> list[Finding]:
        """Examine data, teacher and losses without training; returns the findings.

        Raises:
            ConfigError: If a setting does not fit the dataset or machine, or ``out`` is in use.
        """
        return examine_study(self, self._teacher, self._engine.device)

    def run(self) -> Summary:
        """Run the whole study.

        Returns:
            Content of ``summary.json``. With several processes, only the first one scores the
            students, and the summaries of the others have no arms.

        Raises:
            ConfigError: If the study has no arms, or a setting does not fit.
            TeacherError: If the teacher is missing or does not fit the dataset.
            DivergedError: If the training of the teacher or of all arms diverged.
            ResourceError: If there was not enough memory for any arm.
        """
        if not self.plans:
            raise ConfigError("arms is empty; a study needs at least one arm.")
        self.check()
        with self._open_run() as manifest:
            teachers = self._get_teachers(manifest)
            trainer = self._train_students(manifest, teachers)
            summary = self._summarize(manifest, teachers, trainer)
            self._finish(manifest, summary)
        return summary

    def fit_teacher(self) -> Summary:
        """Train or load only the teacher and score it. The summary has no arms.

        Raises:
            TeacherError: If the study has no teacher.
        """
        if self._teacher is None:
            raise TeacherError("There is no teacher to train. Choose one, as in teacher=mlp.")
        if isinstance(self._teacher, AnswersSource):
            raise no_training(self._teacher.teacher)
        self.plans = []
        self.check()
        with self._open_run() as manifest:
            teachers = self._get_teachers(manifest)
            summary = self._summarize(manifest, teachers, trainer=None)
            self._finish(manifest, summary)
        return summary

    # Stages ---------------------------------------------------------------------------------------

    def _get_teachers(self, manifest: ManifestWriter) -> Teachers:
        """Return the teacher of each split; none without a teacher."""
        hint = "" if self.data.positions is not None else class_order_hint(self.data.class_names)
        for note in self.data.notes():
            self.progress.say(note)
        check_digest(manifest, self.run_folder, "data", self.data.digest(), hint)
        if self._teacher is None:
            return []
        for note in self._teacher.notes():
            self.progress.say(note)
        with manifest.time_stage("teacher"):
            return self._teacher.get(manifest)

    def _train_students(self, manifest: ManifestWriter, teachers: Teachers) -> StudentTrainer:
        first = teachers[0] if teachers else None
        self._pools.teacher = first if isinstance(first, LiveTeacher) else None
        self._pools.device = self._engine.device
        trainer = StudentTrainer(
            data=self.data,
            run=self.run_folder,
            manifest=manifest,
            engine=self._engine,
            pools=self._pools,
            store=self.store,
            teachers=teachers,
            cohorts=self.cohorts(),
            batch_size=self.schedule.batch_size,
            processes=self.processes,
        )
        error = trainer.train()
        if not self._complete_arms(manifest):
            raise error or DivergedError(next(iter(manifest.failed.values())))
        return trainer

    def _summarize(
        self,
        manifest: ManifestWriter,
        teachers: Teachers,
        trainer: StudentTrainer | None,
    ) -> Summary:
        """Score all models, on the test split only here, and write the results."""
        run, data = self.run_folder, self.data
        if self.rank > 0:
            return empty_summary(self.options.name, data, manifest.seconds)
        with manifest.time_stage("evaluation"):
            students: Students = {}
            if trainer is not None:
                students = trainer.students(self._complete_arms(manifest), self.seeds)
            write_metrics(run, students, self.plans, self.options.trainer)
            self.plans, students = choose_on_validation(self.plans, students, self._splits)
            absent = {plan.name: plan.transfer.absent(data.class_names) for plan in self.plans}
            total = len(students) + bool(teachers)
            with self.progress.stage("evaluation", total) as advance:
                bias = self.options.bias
                scores = score(self._splits, students, teachers, advance, bias=bias, absent=absent)
            check_interrupt()
            write_predictions(run, scores)
            warnings = save_adjusted(scores, students, data, run, manifest)
        facts = self._facts(manifest, trainer, warnings)
        summary = summarize(scores, self.plans, data, facts)
        check_interrupt()
        write_examples(run, scores, summary, self.options.examples)
        write_summary(run, summary)
        manifest.add_files([run.metrics, run.predictions, run.examples, run.summary])
        return summary

    def _finish(self, manifest: ManifestWriter, summary: Summary) -> None:
        """Write the report, then close the manifest: a run is finished when all is written."""
        final = manifest.final()
        if self.rank == 0:
            write_report(self.run_folder.path, final)
            if final.state == "finished":
                remove_checkpoints(self.run_folder)
        manifest.close(final)
        if self.rank == 0:
            self._engine.log_results(summary)

    # Parts ----------------------------------------------------------------------------------------

    def _plan(self, arms: Mapping[str, Arm], defaults: Arm) -> list[ArmPlan]:
        if not arms:
            return []
        if self.options.trainer.get("max_epochs") is not None:
            arms = {n: replace(arm, epochs=arm.epochs and self.epochs) for n, arm in arms.items()}
        return limit_views(plan_arms(arms, defaults, self.data.kind), self.store)

    def _available_pool(self, plan: ArmPlan) -> Split | None:
        """Return the pool of an arm; None if its source needs the trained teacher."""
        source = plan.transfer.source
        if source is None:
            return self.data.train
        return None if source.needs_teacher else self._pools.get(plan.transfer)

    @contextmanager
    def _open_run(self) -> Iterator[ManifestWriter]:
        """Open the run folder and the loggers of the study."""
        settings = self.options.config or settings_of(self)
        with (
            open_run(self.run_folder, settings, self.seeds, self.options) as manifest,
            quiet_lightning(),
            self._engine.open(settings),
        ):
            yield manifest

    def _complete_arms(self, manifest: ManifestWriter) -> list[ArmPlan]:
        """Return the arms without a failed student."""

        def has_failed(plan: ArmPlan) -> bool:
            return any(plan.student_name(seed) in manifest.failed for seed in self.seeds)

        return [plan for plan in self.plans if not has_failed(plan)]

    def _facts(
        self, manifest: ManifestWriter, trainer: StudentTrainer | None, warnings: list[str]
    ) -> StudyFacts:
        students = product(self.plans, self.seeds)
        names = {plan.student_name(seed): (plan.name, seed) for plan, seed in students}
        failed = {names[name]: why for name, why in manifest.failed.items() if name in names}
        cohorts = () if trainer is None else trainer.cohorts
        answers = None
        if isinstance(self._teacher, AnswersSource):
            answers = self._teacher.facts()
            if not self._teacher.is_scored:
                warnings = [*warnings, no_score(self._teacher.teacher)]
        return StudyFacts(
            recipe=self.options.name,
            epochs=self.epochs,
            batch_size=self.schedule.batch_size,
            quick=bool(self.options.facts.get("quick")),
            seconds=manifest.seconds,
            arm_seconds=training_seconds(self.plans, cohorts, manifest.content.cohort_seconds),
            failed=failed,
            margin=self.options.parsed_margin,
            warnings=warnings,
            answers=answers,
        )
