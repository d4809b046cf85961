"""A study from top to bottom: get the teacher, ask it once, train the arms, open the test split,
compare, report.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from limbeck._base.checks import check_count, seed_list, without_addresses
from limbeck._base.errors import (
    ConfigError,
    DataError,
    DivergedError,
    LimbeckError,
    ResourceError,
    TeacherError,
    is_out_of_memory,
)
from limbeck._base.files import write_text
from limbeck._base.progress import StageProgress
from limbeck.data import Dataset, TransferSet, Views
from limbeck.data.batches import StudyData
from limbeck.evaluation.bias import BIASES
from limbeck.models import load_model, save_model
from limbeck.report.formats import plural
from limbeck.report.page import write_report
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import ManifestWriter
from limbeck.run.summary import DataFacts, Summary, write_summary
from limbeck.store.answers import digest_of
from limbeck.store.files import check_folder
from limbeck.store.settings import StoreLike, StoreSettings
from limbeck.study.arms import (
    Arm,
    ArmPlan,
    Builder,
    Teacher,
    build,
    check_source,
    check_student,
    check_transfer,
    cohorts,
    fill_in,
)
from limbeck.study.pools import Pools
from limbeck.study.results import (
    StudyFacts,
    save_adjusted,
    summarize,
    write_examples,
    write_predictions,
)
from limbeck.study.scoring import score
from limbeck.study.targets import Signals, check_kind, limit_views
from limbeck.study.teacher import TeacherSource
from limbeck.teacher.signal import LiveTeacher, TeacherSignal
from limbeck.training.cohort.stack import Cohort
from limbeck.training.fabric import make_fabric, process_of, quiet_lightning
from limbeck.training.features import check_features
from limbeck.training.fit import fit
from limbeck.training.loggers import csv_logger, gather_scalars
from limbeck.training.optimizer import Optimizer
from limbeck.training.options import TrainerOptions
from limbeck.training.task import DistillationTask

MOST_EXAMPLES = 100
MOST_NAMED = 3
"""Of the arms of a cohort in the line of its progress."""


class Study:
    """One data set, one teacher and several arms over the same seeds, ending in a verdict.

    Args:
        data: training, validation and test split.
        arms: by name; every arm is trained once a seed.
        student: makes the untrained student of the arms that have none of their own.
        teacher: a plan to train or load one, a trained model (or several), or None for controls
            alone.
        views: of the inputs of arms that have none of their own.
        transfer: the samples of arms that have none of their own.
        seeds: a number (5 means 0 to 4) or a list.
        epochs: of the students of arms that have none of their own.
        batch_size: of every student.
        optimizer: of the arms that have none of their own.
        trainer: options of the group ``trainer``: devices, precision, clipping and so on.
        loggers: functions that make a Lightning logger, called with ``save_dir``; CSV is always
            there.
        store: what is kept of the teacher's answers: settings; ``auto`` for those by default;
            ``off`` asks the teacher in each step.
        bias: add constants to the logits of every trained student, one a class, and score it again:
            ``prior`` for those with which the mean softmax over the training inputs is the share of
            each class among them (no label of an input is used; where a transfer set lacks classes,
            these alone get constants), ``kappa`` for those with the largest quadratic kappa on the
            validation split.
        examples: test images that the run folder and its report show, where the main arm and its
            control differ; 0 for none, where images should not go along with a report.
        out: the run folder.
        name: of the study, for tables.
        overwrite: replace an earlier run in ``out``.
        resume: go on with the run in ``out``: what is finished there is kept.
        config: written to ``config.yaml``; by default a description of these arguments.
        facts: further keys of ``manifest.json``.
        progress: show progress on standard error.

    Raises:
        ConfigError: an argument is out of range.
        TeacherError: an arm needs a teacher and there is none.
    """

    def __init__(
        self,
        data: Dataset,
        arms: Mapping[str, Arm],
        *,
        student: Builder | None = None,
        teacher: Teacher | nn.Module | Sequence[nn.Module] | None = None,
        views: Views | None = None,
        transfer: TransferSet | None = None,
        seeds: int | Sequence[int] = 5,
        epochs: int = 20,
        batch_size: int = 128,
        optimizer: Optimizer | None = None,
        trainer: Mapping[str, Any] | None = None,
        loggers: Sequence[Callable[..., Any]] = (),
        store: StoreLike = "auto",
        out: str | Path = "runs/study",
        bias: str | None = None,
        examples: int = 8,
        name: str = "study",
        overwrite: bool = False,
        resume: bool = False,
        config: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
        progress: bool = True,
    ):
        self.data, self.teacher, self.name = data, teacher, name
        self.seeds, self.epochs = seed_list(seeds), check_count("epochs", epochs)
        self.batch_size = check_count("batch_size", batch_size)
        self.optimizer = optimizer or Optimizer(schedule="one_cycle")
        self.trainer_options = dict(trainer or {})
        TrainerOptions.of(self.trainer_options)  # checks them
        self.store = StoreSettings.of(store)
        if bias is not None and bias not in BIASES:
            raise ConfigError(
                f"bias={bias!r} is unknown; choose one of {', '.join(BIASES)}, or null for none."
            )
        self.bias = bias
        if (
            isinstance(examples, bool)
            or not isinstance(examples, int)
            or not 0 <= examples <= MOST_EXAMPLES
        ):
            raise ConfigError(
                f"examples={examples!r} should be a number of test images, from 0 to "
                f"{MOST_EXAMPLES}."
            )
        self.examples = examples
        shared: dict[str, Any] = {
            "student": student,
            "views": views,
            "transfer": transfer,
            "optimizer": self.optimizer,
        }
        if "max_epochs" in self.trainer_options:  # it has the last word
            arms = {name: replace(arm, epochs=self._epochs) for name, arm in arms.items()}
        self.plans = (
            limit_views(fill_in(arms, epochs=self._epochs, **shared), self.store) if arms else []
        )
        needy = [p.name for p in self.plans if p.objective.needs_teacher]
        if needy and teacher is None:
            raise TeacherError(
                f"arms.{needy[0]} learns from a teacher and the study has none (teacher=none)."
            )
        with quiet_lightning():
            self.rank, self.processes = process_of(self.trainer_options)
        self.run_folder = (
            RunFolder(out) if self.rank == 0 else self._folder_aside(Path(out), resume)
        )
        self.overwrite, self.resume = overwrite, resume
        self.config, self.facts = config, dict(facts or {})
        self.progress = StageProgress(enabled=progress and self.rank == 0)
        self._logger_makers = list(loggers)
        self._loggers: list[Any] | None = None
        self._signals: Signals | None = None
        self._teacher = (
            None if teacher is None else TeacherSource(teacher, data, self.run_folder, self._fit)
        )
        sources = [plan.transfer.source for plan in self.plans if plan.transfer.source is not None]
        self._pools = Pools(data, sources, self.run_folder, self.progress)
        self._checked = False

    # The recipe -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Meet mistakes before anything is written or trained; :meth:`run` begins with it.

        Raises:
            ConfigError: a setting does not fit the data or this machine, or the folder is taken.
            TeacherError: the teacher is missing or does not fit the data.
        """
        self.run_folder.check(resume=self.resume, overwrite=self.overwrite)
        if self._checked:
            return
        if self.bias is not None and self.data.tokenizer is not None:
            raise ConfigError(
                f"bias={self.bias} is for classes; the data of this study is text. Use bias=null."
            )
        if self.bias == "kappa" and not self.data.ordinal:
            raise ConfigError(
                f"bias=kappa is for graded classes, and those of {self.data.name} are not. If they "
                "are, say so with "
                "data.ordinal=true (in Python Dataset.from_arrays(..., ordinal=True)); else use "
                "bias=prior."
            )
        if self.store.mode != "off" and any(plan.objective.needs_teacher for plan in self.plans):
            check_folder(self.store.root)
            check_kind(self.plans, self.store)
        for plan in self.plans:
            check_source(plan, self.data)
            check_student(plan, self.data)
            later = plan.transfer.source is not None and plan.transfer.source.needs_teacher
            check_transfer(plan, self.data, None if later else self._pools.of(plan.transfer))
        if self._teacher is not None:
            self._teacher.check()
            for plan in [plan for plan in self.plans if plan.objective.features]:
                student = build(plan.student, self.data, 0)
                check_features(
                    plan.objective.features, student, self._teacher.preview(), self.data.blank(1)
                )
        self._checked = True

    def run(self) -> Summary:
        """Run the whole study.

        Returns:
            The content of ``summary.json``. If several processes train together, only the first
            scores the students; the summaries of the others have no arms.

        Raises:
            ConfigError: If the study has no arms, or as for :meth:`check`.
            DivergedError: If the training of the teacher or of all students diverged.
        """
        if not self.plans:
            raise ConfigError("arms is empty; a study needs at least one arm.")
        return self._recorded(self._run)

    def fit_teacher(self) -> Summary:
        """Train or load the teacher alone and score it; the summary has no arms.

        Raises:
            TeacherError: If the study has no teacher.
        """
        if self.teacher is None:
            raise TeacherError("There is no teacher to train (teacher=none).")
        self.plans = []
        return self._recorded(self._run)

    def cohorts(self) -> list[tuple[list[ArmPlan], list[int]]]:
        """The arms and seeds of each cohort: what is trained at once."""
        return list(cohorts(self.plans, self.seeds, self.data, self.batch_size))

    def size(self) -> str:
        """What there is to train, in a line."""
        groups, students = self.cohorts(), len(self.plans) * len(self.seeds)
        return (
            f"{plural(len(self.plans), 'arm')} x {plural(len(self.seeds), 'seed')}: "
            f"{plural(students, 'student')} in "
            f"{plural(len(groups), 'cohort')}"
        )

    def _run(self) -> Summary:
        teacher = self._pools.teacher = self._get_teacher()
        self._pools.device = make_fabric(self.trainer_options).device
        self._cohorts = self.cohorts()
        first: LimbeckError | None = None
        for number, (plans, seeds) in enumerate(self._cohorts):
            error = self._train_cohort(f"cohort{number}", plans, seeds, teacher)
            first = first or error
        if self.plans and not self._complete():
            raise first or DivergedError(next(iter(self._failed().values())))
        return self._evaluate(teacher) if self.rank == 0 else self._empty_summary()

    def _get_teacher(self) -> LiveTeacher | None:
        if self._teacher is None:
            return None
        with self.manifest.timed("teacher"):
            teacher = self._teacher.get()
        for name, digest in self._teacher.digests(len(teacher.models)).items():
            self._note_digest(name, digest)
        return teacher

    def _failed(self) -> Mapping[str, str]:
        """Reason of each failure, by the student's name in the manifest."""
        return self.manifest.failed

    def _complete(self) -> list[ArmPlan]:
        """The arms of which no student failed."""
        return [
            plan
            for plan in self.plans
            if not any(_key(plan, seed) in self._failed() for seed in self.seeds)
        ]

    def _note_failures(
        self, plans: Sequence[ArmPlan], seeds: Sequence[int], error: LimbeckError
    ) -> None:
        """Note a cohort of which nothing came, for a reason that the module did not find student by
        student.
        """
        names = [_key(plan, seed) for plan in plans for seed in seeds]
        self.manifest.add_failures({name: str(error) for name in names} | dict(self._failed()))

    def _recorded(self, work: Callable[[], Summary]) -> Summary:
        """Run within a run folder whose manifest tells how it ended."""
        run = self.run_folder
        self.check()
        run.prepare(resume=self.resume, overwrite=self.overwrite)
        settings = yaml.safe_dump(dict(self.config or self._describe()), sort_keys=False)
        if (
            self.resume
            and run.config.is_file()
            and run.config.read_text(encoding="utf-8") != settings
        ):
            raise ConfigError(
                f"{run.path}: the settings are not those in {run.config.name}, with which this run "
                "began. Go on with "
                "the same, or start anew with overwrite=true."
            )
        self.manifest = ManifestWriter(run, recipe=self.name, seeds=self.seeds, facts=self.facts)
        self.manifest.forget_failures(  # there may be more memory now
            [name for name, reason in self._failed().items() if is_out_of_memory(reason)]
        )
        write_text(run.config, settings)
        try:
            self._note_digest("data", self.data.digest())
            with quiet_lightning():
                summary = work()
            finished = not any(map(is_out_of_memory, self._failed().values()))
            self.manifest.finish("finished" if finished else "incomplete")
            if self.rank == 0:
                write_report(run.path)
                if finished:
                    self._remove_checkpoints()
        except (KeyboardInterrupt, SystemExit):
            self.manifest.finish("interrupted")
            raise
        except BaseException as error:
            self.manifest.finish("failed", f"{type(error).__name__}: {error}")
            raise
        return summary

    def _folder_aside(self, out: Path, resume: bool) -> RunFolder:
        """Where processes that train along, and are not the first, write what nobody needs; gone
        when they end.
        """
        self._aside = tempfile.TemporaryDirectory(prefix="limbeck-")
        folder = Path(self._aside.name) / "run"
        if resume and out.is_dir():
            shutil.copytree(
                out, folder, ignore=shutil.ignore_patterns(".*")
            )  # not what is half written
        return RunFolder(folder)

    def _note_digest(self, name: str, digest: str) -> None:
        """Keep a digest in the manifest; a resumed run must find the same again."""
        if self.manifest.add_digest(name, digest) != digest:
            kind = DataError if name.startswith(("data", "inputs")) else TeacherError
            raise kind(
                f"{self.run_folder.path}: the {name} is not what it was when this run began, so it "
                "cannot be resumed. "
                "Put it back, or start anew with overwrite=true."
            )

    # The students ---------------------------------------------------------------------------------

    def _train_cohort(
        self,
        stage: str,
        plans: Sequence[ArmPlan],
        seeds: Sequence[int],
        teacher: LiveTeacher | None,
    ) -> LimbeckError | None:
        """Train arms by seeds at once and save every student, unless an earlier part of this run
        has.

        Returns:
            Why nothing came of it, if nothing did: all students diverged, or memory ran out. Other
                cohorts go on.
        """
        if all(self._is_done(plan, seed) for plan in plans for seed in seeds):
            return None
        with self.manifest.timed("store"):
            pool = self._pools.of(plans[0].transfer)
        if (source := plans[0].transfer.source) is not None:
            self._note_digest(f"inputs: {self._pools.label(source)}", digest_of(pool.inputs))
        needs_teacher = any(plan.objective.needs_teacher for plan in plans)
        signal = self._signal(_needed(teacher), plans[0]) if needs_teacher else None
        with self.manifest.timed("training", stage):
            cohort = Cohort(
                [[build(plan.student, self.data, seed) for seed in seeds] for plan in plans]
            )
            data = StudyData(
                self.data,
                seeds=seeds,
                batch_size=self.batch_size,
                views=plans[0].views,
                transfer=plans[0].transfer,
                pool=pool,
            )
            objectives = [
                plan.objective.for_labels(data.labels, self.data.classes) for plan in plans
            ]
            task = DistillationTask(
                cohort,
                signal,
                objectives,
                optimizer=plans[0].optimizer,
                arm_names=[plan.name for plan in plans],
                seeds=seeds,
            )
            names = (
                ", ".join(plan.name for plan in plans)
                if len(plans) <= MOST_NAMED
                else f"{len(plans)} arms"
            )
            try:
                self._fit(
                    stage, f"{names} x {plural(len(seeds), 'seed')}", task, data, plans[0].epochs
                )
            except (DivergedError, ResourceError) as error:
                if self.processes > 1 and isinstance(error, ResourceError):
                    raise  # this process alone: the others wait for it in the middle of a step
                self._note_failures(plans, seeds, error)
                error.__traceback__ = error.__context__ = (
                    None  # they would keep the cohort in memory
                )
                return error
            finally:
                self.manifest.add_failures(
                    {_key(plans[arm], seeds[seed]): said for arm, seed, said in task.diverged}
                )
            for arm, seed, model in cohort.members():
                name, folder = (
                    _key(plans[arm], seeds[seed]),
                    self.run_folder.student(plans[arm].name, seeds[seed]),
                )
                if not all(
                    p.isfinite().all() for p in model.parameters()
                ):  # in the very last steps
                    reason = f"Training diverged: weights of {name} are not finite."
                    self.manifest.add_failures({name: reason} | dict(self._failed()))
                if name not in self._failed():
                    save_model(
                        model,
                        folder,
                        class_names=self.data.class_names,
                        tokenizer=self.data.tokenizer_file,
                    )
        return None

    def _is_done(self, plan: ArmPlan, seed: int) -> bool:
        """Whether an earlier part of this run has saved a student, or seen it fail."""
        return (self.run_folder.student(plan.name, seed) / "model.json").is_file() or _key(
            plan, seed
        ) in self._failed()

    def _signal(self, teacher: LiveTeacher, plan: ArmPlan) -> TeacherSignal:
        """What an arm learns from: stored answers or the teacher itself."""
        if self._signals is None or self._signals.teacher is not teacher:
            fabric = make_fabric(self.trainer_options)
            self._signals = Signals(
                teacher,
                self._pools,
                self.store,
                self._cohorts,
                precision=fabric.strategy.precision,
                device=fabric.device,
                progress=self.progress,
            )
        with self.manifest.timed("store"):
            signal = self._signals.of(plan)
            self.manifest.add_stores(self._signals.stores)
        return signal

    def _fit(
        self, stage: str, label: str, task: DistillationTask, data: StudyData, epochs: int
    ) -> None:
        options = TrainerOptions.of({**self.trainer_options, "max_epochs": epochs})
        if self._loggers is None:
            loggers = [make(save_dir=str(self.run_folder.logs)) for make in self._logger_makers]
            self._loggers = [logger for logger in loggers if logger is not None]
        with self.progress.stage(label, epochs) as advance:
            fit(
                task,
                data,
                options=options,
                loggers=[csv_logger(self.run_folder.logs, stage), *self._loggers],
                checkpoints=self.run_folder.checkpoints / stage,
                advance=advance,
            )

    @property
    def _epochs(self) -> int:
        """Epochs of the students, if ``trainer.max_epochs`` has not the last word."""
        return self.trainer_options.get("max_epochs", self.epochs)

    # The verdict ----------------------------------------------------------------------------------

    def _empty_summary(self) -> Summary:
        data = self.data
        facts = DataFacts(
            name=data.name,
            classes=data.classes,
            train=len(data.train),
            val=len(data.val),
            test=data.test_size,
        )
        return Summary(
            recipe=self.name,
            data=facts,
            teacher=None,
            arms=(),
            comparisons=(),
            seconds=self.manifest.seconds,
        )

    def _evaluate(self, teacher: LiveTeacher | None) -> Summary:
        """Score everything, with the test split opened now and never before; write the results."""
        run = self.run_folder
        with self.manifest.timed("evaluation"):
            run.write_scalars(gather_scalars(run.logs))
            students = {
                (plan.name, seed): partial(self._student, plan, seed)
                for plan in self._complete()
                for seed in self.seeds
            }
            total = len(students) + (teacher is not None)
            absent = {p.name: p.transfer.absent(self.data.class_names) for p in self.plans}
            with self.progress.stage("evaluation", total) as advance:
                scores = score(self.data, students, teacher, advance, bias=self.bias, absent=absent)
            write_predictions(run, scores)
            warnings = save_adjusted(scores, students, self.data, run)
        facts = StudyFacts(
            recipe=self.name,
            epochs=self._epochs,
            batch_size=self.batch_size,
            quick=bool(self.facts.get("quick")),
            seconds=self.manifest.seconds,
            arm_seconds={plan.name: self._seconds_of(plan) for plan in self.plans},
            failed={
                (plan.name, seed): self._failed()[_key(plan, seed)]
                for plan in self.plans
                for seed in self.seeds
                if _key(plan, seed) in self._failed()
            },
            warnings=warnings,
        )
        summary = summarize(scores, self.plans, self.data, facts)
        write_examples(run, scores, summary, self.examples)
        write_summary(run, summary)
        return summary

    def _student(self, plan: ArmPlan, seed: int) -> nn.Module:
        return load_model(
            self.run_folder.student(plan.name, seed), lambda: build(plan.student, self.data, seed)
        ).model

    def _seconds_of(self, plan: ArmPlan) -> float:
        """The arm's share of the time of its cohorts."""
        spent = self.manifest.content.cohort_seconds
        shares = [
            (f"cohort{number}", len(plans))
            for number, (plans, _) in enumerate(self._cohorts)
            if plan in plans
        ]
        return sum(spent.get(stage, 0.0) / arms for stage, arms in shares)

    def _remove_checkpoints(self) -> None:
        """A finished run has nothing to resume."""
        kept = self.run_folder.checkpoints
        for file in [*kept.glob("*/*.ckpt"), *kept.glob("source*.npy")]:
            file.unlink()
        for folder in [*self.run_folder.checkpoints.glob("*"), self.run_folder.checkpoints]:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _describe(self) -> dict[str, Any]:
        """What can be said of built objects in plain values, the same in every process."""

        def said_of(views: Views) -> Any:
            return json.loads(without_addresses(json.dumps(views.settings())))

        arms = {
            p.name: {
                "objective": p.objective.as_dict(),
                "views": said_of(p.views),
                "transfer": p.transfer.name,
            }
            | ({} if p.transfer.source is None else {"source": p.transfer.settings()["source"]})
            | ({} if p.optimizer == self.optimizer else {"optimizer": vars(p.optimizer)})
            | ({} if p.epochs == self._epochs else {"epochs": p.epochs})
            for p in self.plans
        }
        return {
            "recipe": self.name,
            "data": self.data.name,
            "arms": arms,
            "seeds": self.seeds,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "optimizer": vars(self.optimizer),
            "trainer": self.trainer_options,
            "store": {key: value for key, value in asdict(self.store).items() if key != "folder"},
            **({} if self.bias is None else {"bias": self.bias}),
        }


def _key(plan: ArmPlan, seed: int) -> str:
    """A student's name in the manifest."""
    return f"{plan.name}/seed{seed}"


def _needed(value: Any) -> Any:
    assert value is not None
    return value
