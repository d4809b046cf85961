"""Results of students after constants are added to their logits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from limbeck.evaluation.bias import CHOSEN_ON_TEST, bias_chosen_on_test, recall
from limbeck.evaluation.comparison import ArmErrors, compare_classifiers
from limbeck.evaluation.metrics import classification_metrics, mean_and_sd, nll, top_class
from limbeck.evaluation.multiple_tests import correct_comparisons
from limbeck.evaluation.predictions import Predictions, StudentKey
from limbeck.run.comparison import Comparison
from limbeck.run.metrics import Metrics
from limbeck.run.summary import AdjustedResult, AdjustedSeedResult, TeacherResult


@dataclass(frozen=True)
class Adjustment:
    """Constants for the logits of all students of a study.

    Attributes:
        how: Method that set the constants, one of :data:`limbeck.evaluation.bias.BIASES`.
        biases: Constants of each student, ``[C]``.
        val: Predictions of each student on its validation split, without the constants.
        test: Predictions of each student on the test split, without the constants.
        ordinal: Whether the classes are grades.
        splits: Number of training and validation splits, over which the seeds are spread.
    """

    how: str
    biases: Mapping[StudentKey, Tensor]
    val: Mapping[StudentKey, Predictions]
    test: Mapping[StudentKey, Predictions]
    ordinal: bool = False
    splits: int = 1

    def results(self, arm: str, absent: Sequence[int]) -> tuple[AdjustedResult, ...]:
        """Return results with the study's constants, then with constants chosen on the test split.

        The second result is an upper bound and not an estimate, since it uses the test labels.

        Args:
            arm: Name of the arm.
            absent: Classes that its students never saw; if empty, the second result is left out.
        """
        biases = {student: bias for student, bias in self.biases.items() if student[0] == arm}
        results = [self._result(self.how, biases)]
        if absent:
            biases = {student: self._chosen_on_test(student, absent) for student in biases}
            results.append(self._result(CHOSEN_ON_TEST, biases))
        return tuple(results)

    def compare(
        self, pairs: Sequence[tuple[str, str]], teacher: TeacherResult | None
    ) -> tuple[Comparison, ...]:
        """Compare arms with their controls, after the constants are added to both.

        Args:
            pairs: Names of arm and control.
            teacher: Result of the teacher, if there is one.
        """
        teacher_metrics = None if teacher is None else teacher.test
        comparisons = []
        for arm, control in pairs:
            entry = compare_classifiers(
                self._errors(arm), self._errors(control), teacher_metrics, splits=self.splits
            )
            comparisons.append(replace(entry, how=self.how))
        return tuple(correct_comparisons(comparisons))

    def _chosen_on_test(self, student: StudentKey, absent: Sequence[int]) -> Tensor:
        test = self.test[student]
        return bias_chosen_on_test(test.logits, test.labels, absent)

    def _result(self, how: str, biases: Mapping[StudentKey, Tensor]) -> AdjustedResult:
        seeds = []
        for student, bias in biases.items():
            val, test = self.val[student], self.test[student]
            test_logits = test.logits + bias
            result = AdjustedSeedResult(
                seed=student[1],
                bias=tuple(bias.tolist()),
                val=self._metrics(val.logits + bias, val),
                test=self._metrics(test_logits, test),
                recall=tuple(recall(test_logits, test.labels)),
            )
            seeds.append(result)
        mean, sd = mean_and_sd([seed.test for seed in seeds])
        return AdjustedResult(how=how, seeds=tuple(seeds), mean=mean, sd=sd)

    def _metrics(self, logits: Tensor, original: Predictions) -> Metrics:
        return classification_metrics(
            logits, original.labels, original.teacher, ordinal=self.ordinal
        )

    def _errors(self, arm: str) -> ArmErrors:
        wrong, nlls = [], []
        for student, bias in self.biases.items():
            if student[0] == arm:
                labels = self.test[student].labels
                logits = self.test[student].logits + bias
                wrong.append((top_class(logits) != labels).numpy())
                nlls.append(float(nll(logits, labels)))
        return ArmErrors(arm, np.stack(wrong), nlls)
