"""Scoring of the teacher and all students. The test split is opened here, once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base.progress import Advance
from limbeck.data import Dataset, Split
from limbeck.data.batches import EvaluationBatches
from limbeck.evaluation.adjustment import Adjustment
from limbeck.evaluation.bias import class_prior, prior_bias, recall
from limbeck.evaluation.comparison import (
    ArmErrors,
    ArmTokens,
    bits_by_segment,
    compare_classifiers,
    compare_language_models,
)
from limbeck.evaluation.evaluate import predict
from limbeck.evaluation.kappa import fit_offsets
from limbeck.evaluation.metrics import classification_metrics, nll, top_class
from limbeck.evaluation.split_predictions import SplitPredictions, StudentKey
from limbeck.evaluation.statistics import CrossedTest, crossed_test
from limbeck.evaluation.text import TokenBatch, TokenScores, score_tokens, token_metrics
from limbeck.models import count_parameters, model_name
from limbeck.run.comparison import Comparison
from limbeck.run.metrics import Metrics
from limbeck.run.summary import SeedResult, TeacherResult
from limbeck.study.teacher_scores import describe_teacher, teacher_logits
from limbeck.teacher.file_teacher import DatasetAnswers
from limbeck.teacher.signal import LiveTeacher

MAX_CACHED_LOGITS = 1 << 28
"""Maximum number of the teacher's logits to cache for a split of text. Beyond it, the teacher runs
again for every student.
"""

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
    """

    seeds: Mapping[StudentKey, SeedResult]
    models: Mapping[str, ModelFacts]
    teacher: TeacherResult | None

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
        return crossed_test(self.differences(arm, reference))

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
        val: Predictions on the validation split.
        test: Predictions on the test split.
        test_inputs: Inputs of the test split.
        adjustment: Constants that are added to the logits; None for no constants.
    """

    val: SplitPredictions
    test: SplitPredictions
    test_inputs: Tensor
    adjustment: Adjustment | None

    def compare(self, arm: str, control: str) -> Comparison:
        """Compare two arms by their errors."""
        teacher = None if self.teacher is None else self.teacher.test
        return compare_classifiers(self._errors(arm), self._errors(control), teacher)

    def differences(self, arm: str, reference: str | None) -> np.ndarray:
        """Return the differences in errors."""
        return self._wrong(arm).astype(int) - self._wrong(reference).astype(int)

    def _wrong(self, arm: str | None) -> np.ndarray:
        """Whether the student of each seed errs on each sample, ``[S, N]``; None: the teacher."""
        if arm is not None:
            logits = [self.test.logits[student] for student in self.students_of(arm)]
        else:
            assert self.test.teacher is not None
            logits = [self.test.teacher]
        return np.stack([(top_class(part) != self.test.labels).numpy() for part in logits])

    def _errors(self, arm: str) -> ArmErrors:
        logits = [self.test.logits[student] for student in self.students_of(arm)]
        nlls = [float(nll(part, self.test.labels)) for part in logits]
        return ArmErrors(arm, self._wrong(arm), nlls)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the labels and the test logits."""
        arrays = {"labels": self.test.labels.numpy()}
        if self.test.teacher is not None:
            arrays["teacher"] = self.test.teacher.numpy()
        for (arm, seed), logits in self.test.logits.items():
            arrays[f"students/{arm}/seed{seed}"] = logits.numpy()
        return arrays


@dataclass(frozen=True)
class LanguageModelScores(StudyScores):
    """Scores of language models.

    Attributes:
        test: Test scores of each student.
        test_teacher: Test scores of the teacher; None without a teacher.
        size: Size in bytes of the text that the test labels encode.
    """

    test: Mapping[StudentKey, TokenScores]
    test_teacher: TokenScores | None
    size: int

    def compare(self, arm: str, control: str) -> Comparison:
        """Compare two arms by their bits per byte."""
        return compare_language_models(
            self._tokens(arm), self._tokens(control), self.size, self.test_teacher
        )

    def differences(self, arm: str, reference: str | None) -> np.ndarray:
        """Return the differences in bits per byte, by segment of the text."""
        first = self._tokens(arm).scores
        if reference is not None:
            second = self._tokens(reference).scores
        else:
            assert self.test_teacher is not None
            second = [self.test_teacher] * len(first)
        return bits_by_segment(first, second, self.size)

    def _tokens(self, arm: str) -> ArmTokens:
        return ArmTokens(arm, [self.test[student] for student in self.students_of(arm)])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the NLL of each test token in nats, ``[N, T]``."""
        arrays = {}
        for (arm, seed), scores in self.test.items():
            arrays[f"nll/students/{arm}/seed{seed}"] = scores.nll.numpy()
        if self.test_teacher is not None:
            arrays["nll/teacher"] = self.test_teacher.nll.numpy()
        return arrays


def score(
    data: Dataset,
    students: Students,
    teacher: LiveTeacher | DatasetAnswers | None,
    advance: Advance,
    *,
    bias: str | None = None,
    absent: Mapping[str, Sequence[int]] | None = None,
) -> StudyScores:
    """Score all models on the validation split and, only here, on the test split.

    Args:
        data: Dataset; its test split is opened here.
        students: Functions that load the students; one student is in memory at a time.
        teacher: Teacher to compare with; None without a teacher.
        advance: Function that is called with the number of models scored so far.
        bias: Method that fits constants for the logits of the students, one of
            :data:`limbeck.evaluation.bias.BIASES`; None for no constants.
        absent: Classes without samples in the transfer set of an arm, by the arm's name.
    """
    if data.tokenizer is not None:
        assert not isinstance(teacher, DatasetAnswers)
        return _score_language_models(data, students, teacher, advance)
    return _score_classifiers(data, students, teacher, advance, bias, absent or {})


# Classifiers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ClassifierSplit:
    """A split with the logits of the teacher and of the students scored so far."""

    split: Split
    teacher: Tensor | None
    ordinal: bool
    logits: dict[StudentKey, Tensor] = field(default_factory=dict)

    def score(self, student: StudentKey, model: nn.Module) -> Metrics:
        self.logits[student] = _logits(model, self.split)
        return self.metrics(self.logits[student])

    def metrics(self, logits: Tensor) -> Metrics:
        return classification_metrics(logits, self.split.labels, self.teacher, ordinal=self.ordinal)

    def predictions(self) -> SplitPredictions:
        return SplitPredictions(self.logits, self.split.labels, self.teacher)


def _score_classifiers(
    data: Dataset,
    students: Students,
    teacher: LiveTeacher | DatasetAnswers | None,
    advance: Advance,
    bias: str | None,
    absent: Mapping[str, Sequence[int]],
) -> ClassifierScores:
    splits = (data.val, data.open_test())
    logits = teacher_logits(teacher, *splits)
    val, test = (
        _ClassifierSplit(split, answers, data.ordinal)
        for split, answers in zip(splits, logits, strict=True)
    )
    scored_teachers = int(teacher is not None)
    advance(scored_teachers)
    seeds: dict[StudentKey, SeedResult] = {}
    models: dict[str, ModelFacts] = {}
    biases: dict[StudentKey, Tensor] = {}
    for number, (student, load) in enumerate(students.items(), 1):
        arm, seed = student
        model = load()
        models[arm] = ModelFacts.from_model(model)
        result = SeedResult(
            seed=seed, val=val.score(student, model), test=test.score(student, model)
        )
        if bias is not None:
            shares = recall(test.logits[student], test.split.labels)
            result = replace(result, recall=tuple(shares))
            if bias == "prior":
                biases[student] = _prior_bias(model, data, absent.get(arm, ()))
            else:
                biases[student] = fit_offsets(val.logits[student], val.split.labels)
        seeds[student] = result
        advance(scored_teachers + number)
    adjustment = None
    if bias is not None:
        adjustment = Adjustment(bias, biases, val.predictions(), test.predictions(), data.ordinal)
    teacher_result = None
    if teacher is not None and test.teacher is not None:
        val_metrics = None if val.teacher is None else val.metrics(val.teacher)
        teacher_result = describe_teacher(teacher, val_metrics, test.metrics(test.teacher))
    return ClassifierScores(
        seeds=seeds,
        models=models,
        teacher=teacher_result,
        val=val.predictions(),
        test=test.predictions(),
        test_inputs=test.split.inputs,
        adjustment=adjustment,
    )


def _prior_bias(model: nn.Module, data: Dataset, absent: Sequence[int]) -> Tensor:
    """Fit constants on the training inputs; the prior is the class frequencies."""
    prior = class_prior(data.train.labels, data.classes)
    return prior_bias(_logits(model, data.train), prior, absent)


def _logits(model: nn.Module, split: Split) -> Tensor:
    return predict(model, (batch.x[0] for batch in EvaluationBatches(split)))


# Language models ----------------------------------------------------------------------------------


def _score_language_models(
    data: Dataset, students: Students, teacher: LiveTeacher | None, advance: Advance
) -> LanguageModelScores:
    splits = (data.val, data.open_test())
    val, test = (_TextBatches(split, teacher, data.classes) for split in splits)
    val_size, test_size = (text_bytes(data, split) for split in splits)
    teacher_result, test_teacher = None, None
    if teacher is not None:
        val_metrics = token_metrics(score_tokens(val), val_size)
        test_teacher = score_tokens(test)
        teacher_result = describe_teacher(
            teacher, val_metrics, token_metrics(test_teacher, test_size)
        )
    scored_teachers = int(teacher is not None)
    advance(scored_teachers)
    seeds: dict[StudentKey, SeedResult] = {}
    models: dict[str, ModelFacts] = {}
    test_scores: dict[StudentKey, TokenScores] = {}
    for number, (student, load) in enumerate(students.items(), 1):
        arm, seed = student
        model = load()
        models[arm] = ModelFacts.from_model(model)
        val_metrics = token_metrics(score_tokens(val, model), val_size)
        test_scores[student] = score_tokens(test, model)
        test_metrics = token_metrics(test_scores[student], test_size)
        seeds[student] = SeedResult(seed=seed, val=val_metrics, test=test_metrics)
        advance(scored_teachers + number)
    return LanguageModelScores(
        seeds=seeds,
        models=models,
        teacher=teacher_result,
        test=test_scores,
        test_teacher=test_teacher,
        size=test_size,
    )


def text_bytes(data: Dataset, split: Split) -> int:
    """Return the size in bytes of the text that the labels of a split encode."""
    assert data.tokenizer is not None
    counts = torch.zeros(data.classes, dtype=torch.int64)
    for part in split.labels.split(1 << 12):
        counts += torch.bincount(part.flatten().long(), minlength=data.classes)
    return int((counts * torch.as_tensor(data.tokenizer.lengths)).sum())


class _TextBatches:
    """Batches of a split with the teacher's logits, which are cached if they are small enough."""

    def __init__(self, split: Split, teacher: LiveTeacher | None, classes: int):
        batches = EvaluationBatches(split, classes=classes)
        self.pairs = [(batch.x[0], batch.y[0]) for batch in batches]
        self.teacher = teacher
        self.caches = split.labels.numel() * classes <= MAX_CACHED_LOGITS
        self.cache: dict[int, Tensor] = {}

    def __iter__(self) -> Iterator[TokenBatch]:
        for number, (x, y) in enumerate(self.pairs):
            yield x, y, self._teacher_logits(number, x)

    def _teacher_logits(self, number: int, x: Tensor) -> Tensor | None:
        if self.teacher is None:
            return None
        if number in self.cache:
            return self.cache[number]
        logits = self.teacher(x).cpu()
        if self.caches:
            self.cache[number] = logits
        return logits
