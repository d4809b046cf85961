"""Margins: how large a difference has to be to matter, and tests whether one is smaller."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from scipy import stats

from limbeck._base.errors import ConfigError
from limbeck.evaluation.measure import Measure
from limbeck.evaluation.multiple_tests import holm
from limbeck.evaluation.statistics import LEVEL, CrossedTest
from limbeck.run.comparison import Comparison, MarginTest, MarginVerdict, Replacement
from limbeck.run.summary import ArmResult, Summary, TeacherResult

_NUMBER = re.compile(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(%?)\s*(gap)?\s*", re.IGNORECASE)
_FORMS = (
    "Write a number of errors ({0}=20; for text, bits per byte: {0}=0.01; for regression, a "
    "squared error in units of the variance: {0}=0.01), a share of the test "
    "samples ({0}=0.5%), or a share of the gap between control and teacher ({0}=10%gap)."
)

ONE_SIDED_LEVEL = LEVEL / 2
MIN_ERRORS = -math.log(ONE_SIDED_LEVEL)
"""Smallest margin in errors, 3.7: with so many in the mean, none is seen in 2.5 % of studies.

So models that differ on no test sample may still differ by more than a smaller margin.
"""

TestOf: TypeAlias = Callable[[str, str | None], CrossedTest]
"""Function that tests the difference between an arm and another arm, or the teacher (None)."""


@dataclass(frozen=True)
class Margin:
    """A difference below which two models are as good as each other, in the user's words.

    Attributes:
        amount: Number of errors (bits per byte), or share.
        kind: Unit of the amount: that of the ``measure`` of the study, or a share of the test
            ``samples`` or of the ``gap`` between control and teacher.
    """

    amount: float
    kind: Literal["measure", "samples", "gap"]

    @classmethod
    def parse(cls, value: object, name: str = "margin") -> "Margin":
        """Read a margin such as ``20``, ``0.5%`` or ``10%gap``.

        Args:
            value: Number or text.
            name: Name of the setting, for messages.

        Raises:
            ConfigError: If it is none, or not positive.
        """
        match = None if isinstance(value, bool) else _NUMBER.fullmatch(str(value))
        try:
            amount = float(match[1]) if match else math.nan
        except ValueError:  # such as 1.2.3
            amount = math.nan
        if match is None or not 0 < amount < math.inf:
            forms = _FORMS.format(name)
            raise ConfigError(f"{name}={value!r} is not a difference above 0. {forms}")
        share = amount / 100 if match[2] else amount
        if match[3]:
            kind: Literal["samples", "gap"] = "gap"
        elif match[2]:
            kind = "samples"
        else:
            return cls(amount, "measure")
        if share >= 1:
            raise ConfigError(f"{name}={value!r} is the whole of it or more. {_FORMS.format(name)}")
        return cls(share, kind)

    def check(
        self,
        measure: Measure,
        *,
        samples: int,
        has_teacher: bool,
        name: str = "margin",
        min_errors: float = MIN_ERRORS,
    ) -> None:
        """Check that the margin fits a study, before anything is trained.

        Args:
            measure: Measure of the study.
            samples: Number of test samples.
            has_teacher: Whether the study has a teacher.
            name: Name of the setting, for messages.
            min_errors: Smallest number of errors.

        Raises:
            ConfigError: If it is in another unit, or no difference or every one would be within it.
        """
        is_errors = measure.key == "errors"
        size = self.size(samples=samples, gap=None)
        problem, advice = "", _FORMS.format(name)
        if self.kind == "samples" and not is_errors:
            problem = f"is a share of test samples, but the study is judged by {measure.unit}"
        elif self.kind == "gap" and not has_teacher:
            problem = "of the gap needs a teacher, and the study has none"
        elif self.kind == "measure" and measure.none is not None and self.amount >= measure.none:
            problem = f"is no difference: without a model there is {measure.none:g} {measure.unit}"
        elif is_errors and size is not None and size < min_errors:
            problem = (
                f"is less than {min_errors:.1f} errors on {samples:,} test samples, which no study "
                "can show: even models that agree on all of them may differ by so many on others"
            )
            advice = f"Use at least {name}={math.ceil(min_errors)}, or more test samples."
        elif self.kind == "measure" and is_errors and self.amount >= samples:
            problem = f"is as large as the test split, which has {samples:,} samples"
        if problem:
            is_share = self.kind != "measure"
            value = f"{self.amount * 100:g}%" if is_share else f"{self.amount:g}"
            raise ConfigError(f"{name}={value} {problem}. {advice}")

    def size(self, *, samples: int, gap: float | None) -> float | None:
        """Return the margin in the measure of the study.

        Args:
            samples: Number of test samples.
            gap: Difference between control and teacher.

        Returns:
            The margin; None if it is a share of a gap, and the teacher is no better.
        """
        if self.kind == "samples":
            return self.amount * samples
        if self.kind == "gap":
            return self.amount * gap if gap is not None and gap > 0 else None
        return self.amount


def compare_with_margin(test: CrossedTest, margin: float) -> MarginTest | None:
    """Test with one-sided tests whether a difference is smaller than a margin.

    Standard error and degrees of freedom are those of :func:`crossed_test`. The level of each side
    is 2.5 %, so that the 95 % interval decides: arms are equivalent if it is within the margin on
    both sides, the first is not worse if its upper bound is below the margin, and worse if its
    lower bound is above.

    Args:
        test: Test of the difference.
        margin: Margin in the measure of the study.

    Returns:
        The test; None with one seed or sample.

    References:
        Schuirmann, "A comparison of the two one-sided tests procedure and the power approach for
        assessing the equivalence of average bioavailability", 1987; ICH E9, "Statistical
        principles for clinical trials", 1998, for the level of one-sided tests.
    """
    if test.standard_error is None or test.df is None:
        return None
    error, df = test.standard_error, test.df
    if error == 0:
        p_not_worse, p_not_better = float(test.mean >= margin), float(test.mean <= -margin)
        p_worse = float(test.mean <= margin)
    else:
        p_not_worse = float(stats.t.sf((margin - test.mean) / error, df))
        p_worse = float(stats.t.sf((test.mean - margin) / error, df))
        p_not_better = float(stats.t.sf((margin + test.mean) / error, df))
    return MarginTest(
        p_equivalent=max(p_not_worse, p_not_better),
        p_not_worse=p_not_worse,
        p_worse=p_worse,
    )


def margin_verdict(test: MarginTest) -> MarginVerdict:
    """Return the verdict on a difference within the margin."""
    if test.p_equivalent < ONE_SIDED_LEVEL:
        return "equivalent"
    if test.p_not_worse < ONE_SIDED_LEVEL:
        return "not worse"
    if test.p_worse < ONE_SIDED_LEVEL:
        return "worse"
    return "not shown"


def correct_margin_tests(tests: Sequence[MarginTest]) -> list[MarginTest]:
    """Correct the p-values of several tests by Holm's method; the intervals stay."""
    names = ("p_equivalent", "p_not_worse", "p_worse")
    corrected = [holm([getattr(test, name) for test in tests]) for name in names]
    return [
        replace(test, **dict(zip(names, p_values, strict=True)))
        for test, *p_values in zip(tests, *corrected, strict=True)
    ]


def decide_within_margin(
    comparisons: Sequence[Comparison], margin: float, test_of: TestOf
) -> list[Comparison]:
    """Test the comparisons of a study within the margin.

    A verdict ``not shown`` becomes ``equivalent`` or ``not worse``. As for the other verdicts, the
    headline keeps its own p-values, and the others are corrected by Holm's method.

    Args:
        comparisons: Comparisons with their verdicts, and the headline marked.
        margin: Margin in the measure of the study.
        test_of: Function that tests the difference between two arms.
    """
    tests = [
        compare_with_margin(test_of(entry.arm, entry.control), margin) for entry in comparisons
    ]
    complete = [test for test in tests if test is not None]
    corrected = iter(correct_margin_tests(complete))
    entries = []
    for comparison, test in zip(comparisons, tests, strict=True):
        if test is None:
            entries.append(comparison)
            continue
        by_holm = next(corrected)
        entry = replace(comparison, margin_test=test if comparison.main else by_holm)
        assert entry.margin_test is not None
        verdict = margin_verdict(entry.margin_test)
        if entry.verdict == "not shown" and verdict in ("equivalent", "not worse"):
            entry = replace(entry, verdict=verdict, needed=None)
        entries.append(entry)
    return entries


def find_replacements(
    arms: Sequence[ArmResult],
    teacher: TeacherResult | None,
    measure: Measure,
    margin: float,
    test_of: TestOf,
) -> tuple[Replacement, ...]:
    """Test which students could replace the teacher, and which the largest student.

    Of the arms with the largest student, the reference is the one that is best on the validation
    split. Arms with shuffled soft targets are left out.

    Args:
        arms: Results of the arms.
        teacher: Result of the teacher, if there is one.
        measure: Measure of the study.
        margin: Margin in that measure.
        test_of: Function that tests the difference between an arm and another or the teacher.

    Returns:
        The tests, the smallest students first.
    """
    candidates = sorted((arm for arm in arms if not arm.is_shuffled), key=lambda arm: arm.params)
    replacements: list[Replacement] = []
    if teacher is not None:
        replacements += _replacements_of(None, candidates, margin, test_of)
    largest = [arm for arm in candidates if arm.params == candidates[-1].params]
    smaller = [arm for arm in candidates if arm.params < candidates[-1].params]
    if smaller:
        reference = min(largest, key=measure.validation_mean)
        replacements += _replacements_of(reference.name, smaller, margin, test_of)
    return tuple(replacements)


def _replacements_of(
    reference: str | None, arms: Sequence[ArmResult], margin: float, test_of: TestOf
) -> list[Replacement]:
    tests = {arm.name: test_of(arm.name, reference) for arm in arms}
    within = {name: compare_with_margin(test, margin) for name, test in tests.items()}
    complete = {name: test for name, test in within.items() if test is not None}
    corrected = correct_margin_tests(list(complete.values()))
    replacements = []
    for name, test in zip(complete, corrected, strict=True):
        interval = tests[name].ci95
        assert interval is not None  # as the test within the margin
        replacements.append(
            Replacement(
                arm=name,
                reference=reference,
                delta=tests[name].mean,
                ci95=interval,
                margin_test=test,
                verdict=margin_verdict(test),
            )
        )
    return replacements


def margin_of_study(margin: Margin, summary: Summary, measure: Measure) -> float | None:
    """Return the margin of a study in its measure; None if it is a share of no gap."""
    gap = None
    main = summary.main_comparison
    if main is not None and summary.teacher is not None:
        arms = {arm.name: arm for arm in summary.arms}
        arm = arms.get(main.control)
        control = None if arm is None else measure.value(arm.mean)
        teacher = measure.value(summary.teacher.test)
        gap = None if control is None or teacher is None else control - teacher
    return margin.size(samples=summary.data.test, gap=gap)
