"""Scores of regressions. The test split is opened here, once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from limbeck._base.progress import Advance
from limbeck.data import Split
from limbeck.data.batches import EvaluationBatches
from limbeck.data.resampling import ResampledSplits
from limbeck.evaluation.evaluate import predict
from limbeck.evaluation.predictions import Predictions, StudentKey
from limbeck.evaluation.regression import (
    ArmSquaredErrors,
    compare_regressions,
    regression_metrics,
    squared_errors,
)
from limbeck.run.comparison import Comparison
from limbeck.run.metrics import RegressionMetrics
from limbeck.run.summary import SeedResult
from limbeck.study.scores import ModelFacts, Students, StudyScores, teacher_key
from limbeck.study.teacher_scores import (
    Teachers,
    describe_teachers,
    one_per_split,
    test_logits,
    val_logits,
)


@dataclass(frozen=True)
class RegressionScores(StudyScores):
    """Scores of regressions.

    Attributes:
        test: Predictions of each student on the test split.
        test_labels: Values of the test split, ``[N, D]``.
        test_teachers: Values of each teacher, ``[N, D]``: one, or one per split.
        scale: Standard deviation of each target in the training split.
    """

    test: Mapping[StudentKey, Predictions]
    test_labels: Tensor
    test_teachers: Sequence[Tensor]
    scale: Sequence[float]

    def compare(self, arm: str, control: str) -> Comparison:
        """Compare two arms by their squared errors."""
        teacher = None if self.teacher is None else self.teacher.test
        first = ArmSquaredErrors(arm, self._errors(arm))
        second = ArmSquaredErrors(control, self._errors(control))
        return compare_regressions(first, second, teacher, splits=self.splits)

    def differences(self, arm: str, reference: str | None) -> np.ndarray:
        """Return what each sample adds to the difference in the mean squared error."""
        if reference is not None:
            others = self._errors(reference)
        else:
            teachers = [self.test[student].teacher for student in self.students_of(arm)]
            others = np.stack([self._error(part) for part in teachers if part is not None])
        return (self._errors(arm) - others) / len(self.test_labels)

    def _errors(self, arm: str) -> np.ndarray:
        """Squared error of the student of each seed on each sample, ``[S, N]``."""
        students = self.students_of(arm)
        return np.stack([self._error(self.test[student].logits) for student in students])

    def _error(self, values: Tensor) -> np.ndarray:
        return squared_errors(values, self.test_labels, self.scale).numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the true values, the predicted ones, and the scale of each target."""
        arrays = {"labels": self.test_labels.numpy(), "scale": np.array(self.scale)}
        for number, values in enumerate(self.test_teachers):
            arrays[teacher_key(number)] = values.numpy()
        for (arm, seed), predictions in self.test.items():
            arrays[f"students/{arm}/seed{seed}"] = predictions.logits.numpy()
        return arrays


@dataclass(frozen=True)
class _ScoredSplit:
    """A split with the values of its teacher."""

    split: Split
    teacher: Tensor | None
    scale: Sequence[float]

    def predict(self, model: nn.Module) -> Predictions:
        values = predict(model, (batch.x[0] for batch in EvaluationBatches(self.split)))
        return Predictions(values, self.split.labels, self.teacher)

    def metrics(self, values: Tensor) -> RegressionMetrics:
        return regression_metrics(values, self.split.labels, self.teacher, self.scale)


def score_regressions(
    splits: ResampledSplits, students: Students, teachers: Teachers, advance: Advance
) -> RegressionScores:
    """Score all models on the validation splits and, only here, on the test split.

    Args:
        splits: Dataset, whose test split is opened here, and its training and validation splits.
        students: Functions that load the students; one student is in memory at a time.
        teachers: Teacher of each split to compare with; empty without a teacher.
        advance: Function that is called with the number of models scored so far.
    """
    data = splits.data
    assert data.target_scale is not None
    scale = data.target_scale
    val = [
        _ScoredSplit(splits.val(number), values, scale)
        for number, values in enumerate(val_logits(teachers, splits))
    ]
    test_split = data.open_test()
    teacher_values = test_logits(teachers, test_split)
    test = [
        _ScoredSplit(test_split, values, scale)
        for values in one_per_split(teacher_values or [None], splits.count)
    ]
    scored_teachers = int(bool(teachers))
    advance(scored_teachers)
    seeds: dict[StudentKey, SeedResult] = {}
    models: dict[str, ModelFacts] = {}
    predictions: dict[StudentKey, Predictions] = {}
    for number, (student, load) in enumerate(students.items(), 1):
        arm, seed = student
        part = splits.split_of(seed)
        model = load()
        models[arm] = ModelFacts.from_model(model)
        predictions[student] = test[part].predict(model)
        seeds[student] = SeedResult(
            seed=seed,
            val=val[part].metrics(val[part].predict(model).logits),
            test=test[part].metrics(predictions[student].logits),
            split=part if splits.count > 1 else None,
        )
        advance(scored_teachers + number)
    teacher_result = None
    if teacher_values:
        teacher_result = describe_teachers(
            teachers,
            [part.metrics(part.teacher) for part in val if part.teacher is not None],
            [part.metrics(values) for part, values in zip(test, teacher_values, strict=False)],
        )
    return RegressionScores(
        seeds=seeds,
        models=models,
        teacher=teacher_result,
        splits=splits.count,
        test=predictions,
        test_labels=test_split.labels,
        test_teachers=teacher_values,
        scale=scale,
    )
