"""Scores of all models of a study."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from torch import Tensor, nn

from limbeck.evaluation.adjustment import Adjustment
from limbeck.evaluation.comparison import (
    ArmErrors,
    ArmTokens,
    bits_by_segment,
    compare_classifiers,
    compare_language_models,
)
from limbeck.evaluation.metrics import nll, top_class
from limbeck.evaluation.predictions import Predictions, StudentKey
from limbeck.evaluation.statistics import CrossedTest, crossed_test, mean_by_split
from limbeck.evaluation.text import TokenScores
from limbeck.models import count_parameters, model_name
from limbeck.run.comparison import Comparison
from limbeck.run.summary import SeedResult, TeacherResult

Students: TypeAlias = Mapping[StudentKey, Callable[[], nn.Module]]
"""Functions that load the students, by arm and seed."""


@dataclass(frozen=True)
class ModelFacts:
    """Architecture and number of parameters of a model."""

    name: str
    params: int

    @classmethod
    def from_model(cls, model: nn.Module) -> "ModelFacts":
        """Collect the facts of a model."""
        return cls(model_name(model), count_parameters(model))


@dataclass(frozen=True)
class StudyScores(ABC):
    """Scores of every model of a study.

    Attributes:
        seeds: Result of each student.
        models: Architecture and size of each arm's student.
        teacher: Result of the teacher; None without a teacher.
        splits: Number of training and validation splits, over which the seeds are spread.
    """

    seeds: Mapping[StudentKey, SeedResult]
    models: Mapping[str, ModelFacts]
    teacher: TeacherResult | None
    splits: int

    @abstractmethod
    def compare(self, arm: str, control: str) -> Comparison:
        """Compare two arms by name."""

    @abstractmethod
    def differences(self, arm: str, reference: str | None) -> np.ndarray:
        """Return the differences of an arm from another, or from the teacher.

        Args:
            arm: Name of the arm.
            reference: Name of the other arm; None for the teacher.

        Returns:
            The difference of each seed on each test sample (segment of text), ``[S, N]``.
        """

    def test_difference(self, arm: str, reference: str | None) -> CrossedTest:
        """Test the difference between an arm and another, or the teacher."""
        return crossed_test(mean_by_split(self.differences(arm, reference), self.splits))

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of ``predictions.npz``."""

    def students_of(self, arm: str) -> list[StudentKey]:
        """Return the arm and seed of each student of an arm."""
        return [student for student in self.seeds if student[0] == arm]


@dataclass(frozen=True)
class ClassifierScores(StudyScores):
    """Scores of classifiers.

    Attributes:
        val: Predictions of each student on its validation split.
        test: Predictions of each student on the test split.
        test_inputs: Inputs of the test split.
        test_labels: Labels of the test split, int64 ``[N]``.
        test_teachers: Test logits of each teacher, ``[N, C]``: one, or one per split.
        adjustment: Constants that are added to the logits; None for no constants.
    """

    val: Mapping[StudentKey, Predictions]
    test: Mapping[StudentKey, Predictions]
    test_inputs: Tensor
    test_labels: Tensor
    test_teachers: Sequence[Tensor]
    adjustment: Adjustment | None

    def compare(self, arm: str, control: str) -> Comparison:
        """Compare two arms by their errors."""
        teacher = None if self.teacher is None else self.teacher.test
        arm_errors, control_errors = self._errors(arm), self._errors(control)
        return compare_classifiers(arm_errors, control_errors, teacher, splits=self.splits)

    def differences(self, arm: str, reference: str | None) -> np.ndarray:
        """Return the differences in errors."""
        wrong = self._wrong(arm).astype(int)
        if reference is not None:
            return wrong - self._wrong(reference).astype(int)
        teachers = [self.test[student].teacher for student in self.students_of(arm)]
        errors = [self._is_wrong(logits) for logits in teachers if logits is not None]
        return wrong - np.stack(errors).astype(int)

    def _wrong(self, arm: str) -> np.ndarray:
        """Whether the student of each seed errs on each sample, bool ``[S, N]``."""
        students = self.students_of(arm)
        return np.stack([self._is_wrong(self.test[student].logits) for student in students])

    def _is_wrong(self, logits: Tensor) -> np.ndarray:
        wrong: Tensor = top_class(logits) != self.test_labels
        return wrong.numpy()

    def _errors(self, arm: str) -> ArmErrors:
        logits = [self.test[student].logits for student in self.students_of(arm)]
        nlls = [float(nll(part, self.test_labels)) for part in logits]
        return ArmErrors(arm, self._wrong(arm), nlls)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the labels and the test logits."""
        arrays = {"labels": self.test_labels.numpy()}
        for number, logits in enumerate(self.test_teachers):
            arrays[teacher_key(number)] = logits.numpy()
        for (arm, seed), predictions in self.test.items():
            arrays[f"students/{arm}/seed{seed}"] = predictions.logits.numpy()
        return arrays


@dataclass(frozen=True)
class LanguageModelScores(StudyScores):
    """Scores of language models.

    Attributes:
        test: Test scores of each student.
        test_teachers: Test scores of each teacher: one, or one per split; empty without a teacher.
        teacher_of: Number of the teacher of each student.
        size: Size in bytes of the text that the test labels encode.
    """

    test: Mapping[StudentKey, TokenScores]
    test_teachers: Sequence[TokenScores]
    teacher_of: Mapping[StudentKey, int]
    size: int

    def compare(self, arm: str, control: str) -> Comparison:
        """Compare two arms by their bits per byte."""
        return compare_language_models(
            self._tokens(arm),
            self._tokens(control),
            self.size,
            None if self.teacher is None else self.teacher.test,
            splits=self.splits,
        )

    def differences(self, arm: str, reference: str | None) -> np.ndarray:
        """Return the differences in bits per byte, by segment of the text."""
        first = self._tokens(arm).scores
        if reference is not None:
            second = self._tokens(reference).scores
        else:
            numbers = [self.teacher_of[student] for student in self.students_of(arm)]
            second = [self.test_teachers[number] for number in numbers]
        return bits_by_segment(first, second, self.size)

    def _tokens(self, arm: str) -> ArmTokens:
        return ArmTokens(arm, [self.test[student] for student in self.students_of(arm)])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the NLL of each test token in nats, ``[N, T]``."""
        arrays = {}
        for (arm, seed), scores in self.test.items():
            arrays[f"nll/students/{arm}/seed{seed}"] = scores.nll.numpy()
        for number, teacher in enumerate(self.test_teachers):
            arrays[f"nll/{teacher_key(number)}"] = teacher.nll.numpy()
        return arrays


def teacher_key(number: int) -> str:
    """Name of the array of a teacher in ``predictions.npz``; that of the first has no number."""
    return f"teacher/split{number}" if number else "teacher"
