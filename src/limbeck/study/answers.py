"""The teacher of a study that is a file of answers."""

import hashlib
from collections.abc import Sequence
from pathlib import PurePath

import torch

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data.resampling import ResampledSplits
from limbeck.losses.soft import SOFT_LOSSES
from limbeck.run.finding import Finding
from limbeck.run.folder import RunFolder
from limbeck.run.manifest import ManifestWriter
from limbeck.run.summary import AnswersFacts
from limbeck.study.arms import ArmPlan
from limbeck.study.checks import check_layers, check_plain_inputs
from limbeck.study.run_folder import check_digest
from limbeck.teacher.answer_files.answers import StoredAnswers
from limbeck.teacher.answer_files.columns import LABELS, Requirements
from limbeck.teacher.answer_files.read import Answers
from limbeck.teacher.examination import examine_answers
from limbeck.teacher.file_teacher import DatasetAnswers
from limbeck.teacher.remedies import AnswersRemedies
from limbeck.teacher.signal import LiveTeacher


class AnswersSource:
    """Provider of the teacher of a study that is a file of answers.

    The file is read, not copied: the run folder holds its digest alone.

    Args:
        teacher: File and settings.
        splits: Training and validation splits of the study.
        run: Folder of the run.
        plans: Arms of the study.
    """

    def __init__(
        self,
        teacher: Answers,
        splits: ResampledSplits,
        run: RunFolder,
        plans: Sequence[ArmPlan],
    ):
        self.teacher, self.splits, self.run = teacher, splits, run
        self.data = splits.data
        self.plans = [plan for plan in plans if plan.objective.needs_teacher]
        self._answers: DatasetAnswers | None = None
        self._digest = ""

    @property
    def is_scored(self) -> bool:
        """Whether the file answers all test samples, so that the teacher has a test result."""
        return self.data.positions is None and self._read().test_logits() is not None

    def check(self) -> None:
        """Check the file before anything is written or trained.

        Raises:
            ConfigError: If an arm needs more than answers to plain inputs.
            TeacherError: If the file is missing or damaged, does not fit the dataset, or lacks an
                answer.
        """
        if self.data.positions is not None:
            raise ConfigError(
                f"teacher.answers={self.teacher.name} has one answer for each sample, but "
                f"{self.data.name} is a text in blocks. Use teacher.from= with a language model."
            )
        for plan in self.plans:
            check_plain_inputs(plan, self.teacher.name, every_view=self.teacher.every_view)
        answers = self._read()
        for plan in self.plans:
            _check_objective(plan, answers.answers)
            for number in range(self.splits.count):
                rows = self.splits.train_rows(number)
                pool, names = self.splits.pool, self.data.class_names
                answers.check(plan.transfer.select(pool, names, rows)[0])

    def check_arms(self, plans: Sequence[ArmPlan]) -> None:
        """Check that arms need no more than answers to the samples.

        Args:
            plans: Arms of the study.

        Raises:
            ConfigError: If one does.
        """
        check_layers(plans, self.data, self.preview)

    def preview(self) -> LiveTeacher:
        """Raise an error, because a file of answers has no layers to inspect.

        Raises:
            ConfigError: If this is called.
        """
        raise ConfigError(
            f"objective.features needs layers of the teacher, but {self.teacher.name} holds only "
            "its answers. Use teacher.from= with the model."
        )

    def get(self, manifest: ManifestWriter) -> list[DatasetAnswers]:
        """Return the answers for each split, after a check that the file is that of the run.

        Raises:
            TeacherError: If the file has changed since the run was started.
        """
        answers = self._read()
        check_digest(manifest, self.run, "teacher", self._digest)
        return [answers] * self.splits.count

    @property
    def exists(self) -> bool:
        """Whether the teacher is there already; a file always is."""
        return True

    def existing(self) -> None:
        """Return no model: answers cannot be computed for other inputs."""
        return None

    def examine(self, device: torch.device) -> list[Finding]:
        """Examine the answers to the validation split; those to training samples if it has none.

        Args:
            device: Device of the study, which is not used.
        """
        return examine_answers(*self._read().labelled_logits(), self.data, AnswersRemedies())

    @property
    def switch_off(self) -> str:
        """Sentence that says how to go on without an examination."""
        return AnswersRemedies.switch_off

    def notes(self) -> list[str]:
        """Return what people should know about the answers: what they are, and what was changed."""
        return [f"teacher: {self._read().answers.describe()}"]

    def facts(self) -> AnswersFacts:
        """Return the facts about the answers for the summary."""
        answers = self._read().answers
        return AnswersFacts(
            name=PurePath(self.teacher.name).name,
            kind=answers.kind,
            samples=len(answers.records),
            top=answers.top if answers.kind != LABELS else None,
            every_view=self.teacher.every_view,
        )

    def _read(self) -> DatasetAnswers:
        """Read the file at first use."""
        if self._answers is None:
            data = self.data
            needs = Requirements(data.class_names, data.kind.outputs, data.id_column)
            answers, digest = self.teacher.read(needs)
            self._answers = DatasetAnswers(answers, self.splits)
            teacher = self.teacher
            settings = f"{teacher.kind} {teacher.combine} {teacher.every_view}"
            self._digest = hashlib.sha256(f"{digest} {settings}".encode()).hexdigest()
        return self._answers


def _check_objective(plan: ArmPlan, answers: StoredAnswers) -> None:
    """Check that an objective can use the answers.

    Raises:
        ConfigError: If it needs a logit for each class or another temperature.
    """
    if answers.top is None:
        return
    objective = plan.objective
    where = f"arms.{plan.name}: {answers.where} holds"
    what = "labels" if answers.kind == LABELS else "the most probable classes alone"
    if SOFT_LOSSES[objective.soft].sparse is None or objective.standardise:
        setting = "standardise=true" if objective.standardise else f"soft={objective.soft}"
        names = [loss.name for loss in SOFT_LOSSES.values() if loss.sparse]
        raise ConfigError(
            f"{where} {what}, but objective.{setting} needs a value for each class. Use "
            f"objective.soft={' or '.join(names)}."
        )
    if answers.kind == LABELS and objective.temperature != 1:
        raise ConfigError(
            f"{where} labels, which have no temperature: students learn them as they learn from "
            "labels, by cross-entropy. Set objective.temperature=1."
        )
    if answers.has_rest and objective.temperature < 1:
        raise ConfigError(
            f"{where} {what}, which do not determine the probability of all others at "
            f"objective.temperature={objective.temperature:g}. Use a temperature of at least 1."
        )


def no_score(teacher: Answers) -> str:
    """Return the warning that the teacher has no test result."""
    return (
        f"The file of answers ({PurePath(teacher.name).name}) does not answer all test samples, so "
        "the teacher has no test result. Add rows for them, with test in the column split, to see "
        "how much of the teacher's accuracy the students reach."
    )


def no_training(teacher: Answers) -> TeacherError:
    """Return the error that there is no teacher to train."""
    return TeacherError(
        f"There is no teacher to train: {teacher.name} holds answers. Start the students with "
        "'limbeck run'."
    )
