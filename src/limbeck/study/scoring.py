"""Scoring of the teacher and all students. The test split is opened here, once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from limbeck._base.progress import Advance
from limbeck.data import Dataset, Split
from limbeck.data.batches import EvaluationBatches
from limbeck.data.resampling import ResampledSplits
from limbeck.evaluation.adjustment import Adjustment
from limbeck.evaluation.bias import class_prior, prior_bias, recall
from limbeck.evaluation.evaluate import predict_split
from limbeck.evaluation.kappa import fit_offsets
from limbeck.evaluation.metrics import classification_metrics
from limbeck.evaluation.predictions import Predictions, StudentKey
from limbeck.evaluation.text import TokenBatch, TokenScores, score_tokens, token_metrics
from limbeck.run.metrics import Metrics
from limbeck.run.summary import SeedResult
from limbeck.study.sample_scores import score_samples
from limbeck.study.scores import (
    ClassifierScores,
    LanguageModelScores,
    ModelFacts,
    Students,
    StudyScores,
)
from limbeck.study.teacher_scores import (
    Teachers,
    describe_teachers,
    one_per_split,
    test_logits,
    val_logits,
)
from limbeck.teacher.signal import LiveTeacher

MAX_CACHED_LOGITS = 1 << 28
"""Maximum number of the teacher's logits to cache for a split of text. Beyond it, the teacher runs
again for every student.
"""


def score(
    splits: ResampledSplits,
    students: Students,
    teachers: Teachers,
    advance: Advance,
    *,
    bias: str | None = None,
    absent: Mapping[str, Sequence[int]] | None = None,
) -> StudyScores:
    """Score all models on the validation splits and, only here, on the test split.

    Args:
        splits: Dataset, whose test split is opened here, and its training and validation splits.
        students: Functions that load the students; one student is in memory at a time.
        teachers: Teacher of each split to compare with; empty without a teacher.
        advance: Function that is called with the number of models scored so far.
        bias: Method that fits constants for the logits of the students, one of
            :data:`limbeck.evaluation.bias.BIASES`; None for no constants.
        absent: Classes without samples in the transfer set of an arm, by the arm's name.
    """
    if splits.data.positions is not None:
        models = [teacher for teacher in teachers if isinstance(teacher, LiveTeacher)]
        return _score_language_models(splits, students, models, advance)
    if not splits.data.kind.has_classes:
        return score_samples(splits, students, teachers, advance)
    return _score_classifiers(splits, students, teachers, advance, bias, absent or {})


# Classifiers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ClassifierSplit:
    """A split with the logits of its teacher."""

    split: Split
    teacher: Tensor | None
    ordinal: bool

    def predict(self, model: nn.Module) -> Predictions:
        return Predictions(predict_split(model, self.split), self.split.labels, self.teacher)

    def metrics(self, logits: Tensor) -> Metrics:
        return classification_metrics(logits, self.split.labels, self.teacher, ordinal=self.ordinal)


def _score_classifiers(
    splits: ResampledSplits,
    students: Students,
    teachers: Teachers,
    advance: Advance,
    bias: str | None,
    absent: Mapping[str, Sequence[int]],
) -> ClassifierScores:
    data = splits.data
    val = [
        _ClassifierSplit(splits.val(number), logits, data.ordinal)
        for number, logits in enumerate(val_logits(teachers, splits))
    ]
    test_split = data.open_test()
    teacher_logits = test_logits(teachers, test_split)
    test = [
        _ClassifierSplit(test_split, logits, data.ordinal)
        for logits in one_per_split(teacher_logits or [None], splits.count)
    ]
    scored_teachers = int(bool(teachers))
    advance(scored_teachers)
    seeds: dict[StudentKey, SeedResult] = {}
    models: dict[str, ModelFacts] = {}
    biases: dict[StudentKey, Tensor] = {}
    val_predictions: dict[StudentKey, Predictions] = {}
    test_predictions: dict[StudentKey, Predictions] = {}
    for number, (student, load) in enumerate(students.items(), 1):
        arm, seed = student
        part = splits.split_of(seed)
        model = load()
        models[arm] = ModelFacts.from_model(model)
        val_predictions[student] = val[part].predict(model)
        test_predictions[student] = test[part].predict(model)
        result = SeedResult(
            seed=seed,
            val=val[part].metrics(val_predictions[student].logits),
            test=test[part].metrics(test_predictions[student].logits),
            split=part if splits.count > 1 else None,
        )
        if bias is not None:
            shares = recall(test_predictions[student].logits, test_split.labels)
            result = replace(result, recall=tuple(shares))
            if bias == "prior":
                biases[student] = _prior_bias(model, splits, part, absent.get(arm, ()))
            else:
                on_val = val_predictions[student]
                biases[student] = fit_offsets(on_val.logits, on_val.labels)
        seeds[student] = result
        advance(scored_teachers + number)
    adjustment = None
    if bias is not None:
        adjustment = Adjustment(
            bias, biases, val_predictions, test_predictions, data.ordinal, splits.count
        )
    teacher_result = None
    if teacher_logits:
        teacher_result = describe_teachers(
            teachers,
            [part.metrics(part.teacher) for part in val if part.teacher is not None],
            [part.metrics(logits) for part, logits in zip(test, teacher_logits, strict=False)],
        )
    return ClassifierScores(
        seeds=seeds,
        models=models,
        teacher=teacher_result,
        splits=splits.count,
        val=val_predictions,
        test=test_predictions,
        test_inputs=test_split.inputs,
        test_labels=test_split.labels,
        test_teachers=teacher_logits,
        adjustment=adjustment,
    )


def _prior_bias(
    model: nn.Module, splits: ResampledSplits, number: int, absent: Sequence[int]
) -> Tensor:
    """Fit constants on the training inputs of a split; the prior is the class frequencies."""
    train = splits.train(number)
    prior = class_prior(train.labels, splits.data.classes)
    return prior_bias(predict_split(model, train), prior, absent)


# Language models ----------------------------------------------------------------------------------


def _score_language_models(
    splits: ResampledSplits,
    students: Students,
    teachers: Sequence[LiveTeacher],
    advance: Advance,
) -> LanguageModelScores:
    data, test_split = splits.data, splits.data.open_test()
    test_size = text_bytes(data, test_split)
    owners: list[LiveTeacher | None] = [*dict.fromkeys(teachers)] or [None]
    test = [_TextBatches(test_split, teacher, data.classes) for teacher in owners]
    test_teachers = [score_tokens(batches) for batches in test] if teachers else []
    val = []
    for number in range(splits.count):
        teacher = teachers[number] if teachers else None
        val.append(_TextBatches(splits.val(number), teacher, data.classes))
    val_sizes = [text_bytes(data, splits.val(number)) for number in range(splits.count)]
    teacher_result = None
    if teachers:
        pairs = zip(val, val_sizes, strict=True)
        teacher_result = describe_teachers(
            teachers,
            [token_metrics(score_tokens(batches), size) for batches, size in pairs],
            [token_metrics(scores, test_size) for scores in test_teachers],
        )
    scored_teachers = int(bool(teachers))
    advance(scored_teachers)
    seeds: dict[StudentKey, SeedResult] = {}
    models: dict[str, ModelFacts] = {}
    test_scores: dict[StudentKey, TokenScores] = {}
    teacher_of: dict[StudentKey, int] = {}
    for number, (student, load) in enumerate(students.items(), 1):
        arm, seed = student
        part = splits.split_of(seed)
        teacher_of[student] = part if len(test) > 1 else 0
        model = load()
        models[arm] = ModelFacts.from_model(model)
        val_metrics = token_metrics(score_tokens(val[part], model), val_sizes[part])
        test_scores[student] = score_tokens(test[teacher_of[student]], model)
        test_metrics = token_metrics(test_scores[student], test_size)
        seeds[student] = SeedResult(
            seed=seed,
            val=val_metrics,
            test=test_metrics,
            split=part if splits.count > 1 else None,
        )
        advance(scored_teachers + number)
    return LanguageModelScores(
        seeds=seeds,
        models=models,
        teacher=teacher_result,
        splits=splits.count,
        test=test_scores,
        test_teachers=test_teachers,
        teacher_of=teacher_of,
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
