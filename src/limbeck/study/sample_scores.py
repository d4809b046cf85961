"""Scores of models whose outputs are no classes. The test split is opened here, once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from limbeck._base.progress import Advance
from limbeck.data import Split
from limbeck.data.batches import EvaluationBatches
from limbeck.data.resampling import ResampledSplits
from limbeck.evaluation.comparison import GapSeeds, compare_samples
from limbeck.evaluation.evaluate import predict
from limbeck.evaluation.judges import Judge, judge_of
from limbeck.evaluation.predictions import Predictions, StudentKey
from limbeck.run.comparison import Comparison
from limbeck.run.summary import SeedResult, TeacherResult
from limbeck.study.scores import ModelFacts, Students, StudyScores, teacher_key
from limbeck.study.teacher_scores import (
    Teachers,
    describe_teachers,
    one_per_split,
    test_logits,
    val_logits,
)


@dataclass(frozen=True)
class SampleScores(StudyScores):
    """Scores of models that are judged by a sum over test samples.

    Attributes:
        test: Predictions of each student on the test split.
        test_labels: Labels of the test split, ``[N, D]``.
        test_teachers: Outputs of each teacher, ``[N, D]``: one, or one per split.
        judge: Judge of the outputs.
    """

    test: Mapping[StudentKey, Predictions]
    test_labels: Tensor
    test_teachers: Sequence[Tensor]
    judge: Judge

    def compare(self, arm: str, control: str) -> Comparison:
        """Compare two arms by the measure."""
        arm_parts, control_parts = self._parts(arm), self._parts(control)
        teacher = None if self.teacher is None else self.teacher.test
        seeds = GapSeeds(
            arm=arm_parts.sum(1).tolist(),
            control=control_parts.sum(1).tolist(),
            teacher=getattr(teacher, self.judge.measure, None),
        )
        differences = arm_parts - control_parts
        measure = self.judge.measure
        return compare_samples(arm, control, differences, measure, seeds, splits=self.splits)

    def differences(self, arm: str, reference: str | None) -> np.ndarray:
        """Return the contribution of each sample to the difference in the measure."""
        if reference is not None:
            return self._parts(arm) - self._parts(reference)
        teachers = [self.test[student].teacher for student in self.students_of(arm)]
        parts = [self._part(outputs) for outputs in teachers if outputs is not None]
        return self._parts(arm) - np.stack(parts)

    def _parts(self, arm: str) -> np.ndarray:
        """Contribution of each sample to the measure of the student of each seed, ``[S, N]``."""
        students = self.students_of(arm)
        return np.stack([self._part(self.test[student].logits) for student in students])

    def _part(self, outputs: Tensor) -> np.ndarray:
        return self.judge.parts(outputs, self.test_labels)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the labels and the outputs for the test samples."""
        arrays = {"labels": self.test_labels.numpy(), **self.judge.arrays()}
        for number, outputs in enumerate(self.test_teachers):
            arrays[teacher_key(number)] = outputs.numpy()
        for (arm, seed), predictions in self.test.items():
            arrays[f"students/{arm}/seed{seed}"] = predictions.logits.numpy()
        return arrays


@dataclass(frozen=True)
class _ScoredSplit:
    """A split with the outputs of its teacher."""

    split: Split
    teacher: Tensor | None

    def predict(self, model: nn.Module) -> Predictions:
        outputs = predict(model, (batch.x[0] for batch in EvaluationBatches(self.split)))
        return Predictions(outputs, self.split.labels, self.teacher)

    def of_teacher(self) -> Predictions:
        assert self.teacher is not None
        return Predictions(self.teacher, self.split.labels, self.teacher)


def score_samples(
    splits: ResampledSplits, students: Students, teachers: Teachers, advance: Advance
) -> SampleScores:
    """Score all models on the validation splits and, only here, on the test split.

    Args:
        splits: Dataset, whose test split is opened here, and its training and validation splits.
        students: Functions that load the students; one student is in memory at a time.
        teachers: Teacher of each split to compare with; empty without a teacher.
        advance: Function that is called with the number of models scored so far.
    """
    judge = judge_of(splits.data)
    val = [
        _ScoredSplit(splits.val(number), outputs)
        for number, outputs in enumerate(val_logits(teachers, splits))
    ]
    test_split = splits.data.open_test()
    teacher_outputs = test_logits(teachers, test_split)
    test = [
        _ScoredSplit(test_split, outputs)
        for outputs in one_per_split(teacher_outputs or [None], splits.count)
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
        on_val, predictions[student] = val[part].predict(model), test[part].predict(model)
        seeds[student] = SeedResult(
            seed=seed,
            val=judge.metrics(on_val, on_val),
            test=judge.metrics(predictions[student], on_val),
            split=part if splits.count > 1 else None,
        )
        advance(scored_teachers + number)
    return SampleScores(
        seeds=seeds,
        models=models,
        teacher=_teacher_result(teachers, judge, val, test) if teacher_outputs else None,
        splits=splits.count,
        test=predictions,
        test_labels=test_split.labels,
        test_teachers=teacher_outputs,
        judge=judge,
    )


def _teacher_result(
    teachers: Teachers, judge: Judge, val: Sequence[_ScoredSplit], test: Sequence[_ScoredSplit]
) -> TeacherResult:
    """Return the result of one teacher for all splits, or of one for each."""
    count = len(dict.fromkeys(teachers))
    on_val = [part.of_teacher() for part in val]
    on_test = [part.of_teacher() for part in test[:count]]
    pairs = zip(on_test, on_val, strict=False)
    return describe_teachers(
        teachers,
        [judge.metrics(scored, scored) for scored in on_val],
        [judge.metrics(scored, other) for scored, other in pairs],
    )
