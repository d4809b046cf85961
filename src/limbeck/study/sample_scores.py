"""Scores of models whose outputs are no classes. The test split is opened here, once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from limbeck._base.progress import Advance
from limbeck.data import Split
from limbeck.data.resampling import ResampledSplits
from limbeck.evaluation.comparison import GapSeeds, compare_samples
from limbeck.evaluation.evaluate import predict_split
from limbeck.evaluation.judges import Judge, judge_of
from limbeck.evaluation.predictions import Predictions, StudentKey
from limbeck.evaluation.probe import Probe
from limbeck.run.comparison import Comparison
from limbeck.run.summary import SeedResult, TeacherResult
from limbeck.study.scores import ModelFacts, Students, StudyScores, teacher_key
from limbeck.study.teacher_scores import (
    Teachers,
    answer_split,
    describe_teachers,
    one_per_split,
    test_logits,
    val_logits,
)
from limbeck.teacher.signal import LiveTeacher


@dataclass(frozen=True)
class SampleScores(StudyScores):
    """Scores of models that are judged by a sum over test samples.

    Attributes:
        test: Predictions of each student on the test split.
        parts: Contribution of each test sample to the measure of each student, ``[N]``.
        test_labels: Labels of the test split, ``[N, D]``, or ``[N]`` for a probe.
        test_teachers: Outputs of each teacher, ``[N, D]``: one, or one per split.
        judge: Judge of the outputs.
    """

    test: Mapping[StudentKey, Predictions]
    parts: Mapping[StudentKey, np.ndarray]
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
        parts = []
        for student in self.students_of(arm):
            outputs = self.test[student].teacher
            if outputs is not None:
                parts.append(self.judge.parts(Predictions(outputs, self.test_labels, outputs)))
        return self._parts(arm) - np.stack(parts)

    def _parts(self, arm: str) -> np.ndarray:
        """Contribution of each sample to the measure of the student of each seed, ``[S, N]``."""
        return np.stack([self.parts[student] for student in self.students_of(arm)])

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

    def predict(self, model: nn.Module, probe: Probe | None = None) -> Predictions:
        return Predictions(predict_split(model, self.split), self.split.labels, self.teacher, probe)

    def of_teacher(self, probe: Probe | None = None) -> Predictions:
        assert self.teacher is not None
        return Predictions(self.teacher, self.split.labels, self.teacher, probe)


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
    probes = _Probes(judge, splits)
    seeds: dict[StudentKey, SeedResult] = {}
    parts: dict[StudentKey, np.ndarray] = {}
    models: dict[str, ModelFacts] = {}
    predictions: dict[StudentKey, Predictions] = {}
    for number, (student, load) in enumerate(students.items(), 1):
        arm, seed = student
        part = splits.split_of(seed)
        model = load()
        models[arm] = ModelFacts.from_model(model)
        on_val = val[part].predict(model, probes.of_student(model, part))
        predictions[student] = test[part].predict(model)
        parts[student] = judge.parts(predictions[student])
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
        teacher=_teacher_result(teachers, probes, val, test) if teacher_outputs else None,
        splits=splits.count,
        test=predictions,
        parts=parts,
        test_labels=test_split.labels,
        test_teachers=teacher_outputs,
        judge=judge,
    )


class _Probes:
    """Probes of models, fitted on training samples with labels, if the judge has any.

    Args:
        judge: Judge of the outputs.
        splits: Dataset, and its training and validation splits.
    """

    def __init__(self, judge: Judge, splits: ResampledSplits):
        self.judge, self.splits = judge, splits

    def of_student(self, model: nn.Module, part: int) -> Probe | None:
        """Fit the probe of a student that was trained on a split."""
        train = self.judge.probed(self.splits.train(part))
        return None if train is None else Probe.fit(predict_split(model, train), train.labels)

    def of_teacher(self, teachers: Teachers, part: int) -> Probe | None:
        """Fit the probe of the teacher of a split; a file of answers has none."""
        teacher = teachers[part]
        train = self.judge.probed(self.splits.train(part))
        if train is None or not isinstance(teacher, LiveTeacher):
            return None
        return Probe.fit(answer_split(teacher, train), train.labels)


def _teacher_result(
    teachers: Teachers,
    probes: _Probes,
    val: Sequence[_ScoredSplit],
    test: Sequence[_ScoredSplit],
) -> TeacherResult:
    """Return the result of one teacher for all splits, or of one for each."""
    count, judge = len(dict.fromkeys(teachers)), probes.judge
    on_val = [part.of_teacher(probes.of_teacher(teachers, i)) for i, part in enumerate(val)]
    on_test = [part.of_teacher() for part in test[:count]]
    pairs = zip(on_test, on_val, strict=False)
    return describe_teachers(
        teachers,
        [judge.metrics(scored, scored) for scored in on_val],
        [judge.metrics(scored, other) for scored, other in pairs],
    )
