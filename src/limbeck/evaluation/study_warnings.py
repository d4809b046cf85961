"""Warnings about a study, to read before trusting its verdict."""

from collections.abc import Iterator, Sequence

from limbeck.evaluation.constant import NEAR
from limbeck.evaluation.measure import measure_of
from limbeck.run.comparison import Comparison
from limbeck.run.summary import ArmResult, Summary

FEW_COMPARISONS = 4
FEW_SEEDS = 5
MAX_LISTED = 4
"""Maximum number of arms that a warning lists."""


def study_warnings(summary: Summary) -> tuple[str, ...]:
    """Return the warnings of a study, each of one or two sentences."""
    warnings = [
        *_quick_run(summary),
        *_hardly_learned(summary),
        *_weak_teacher(summary),
        *_uneven_comparisons(summary),
        *_failed_arms(summary),
        *_failed_controls(summary),
        *_many_comparisons(summary),
        *_few_seeds(summary),
        *_shared_teacher(summary),
        *_arms_without_control(summary),
    ]
    return tuple(dict.fromkeys(warnings))


def _quick_run(summary: Summary) -> Iterator[str]:
    if summary.quick:
        yield (
            "A quick run is only a smoke test. Do not draw conclusions from its numbers or verdict."
        )


def _hardly_learned(summary: Summary) -> Iterator[str]:
    """Warn of a study in which neither an arm nor its control is better than a constant answer."""
    measure, main = measure_of(summary), summary.main_comparison
    constant = summary.data.constant
    if main is None or constant is None or summary.quick:
        return
    names = (main.control, main.arm)
    values = [measure.value(summary.arm(name).mean) for name in names]
    if any(value is None or value < NEAR * constant for value in values):
        return
    decimals = 1 if measure.is_integer else 3
    pairs = zip(names, values, strict=True)
    arms = " and ".join(f"'{name}' ({value:.{decimals}f})" for name, value in pairs)
    answer = "the mean" if measure.key == "squared_error" else "the same answer"
    yield (
        f"The students have hardly learned: {arms} are no better than always giving {answer}, with "
        f"{measure.sentence.format(value=constant)}, or hardly so. Their comparison says little "
        "about distillation. Train longer, or change the student or its learning rate."
    )


def _weak_teacher(summary: Summary) -> Iterator[str]:
    """Warn of controls that are as good as the teacher."""
    if summary.teacher is None:
        return
    measure = measure_of(summary)
    teacher = measure.value(summary.teacher.test)
    better: dict[str, float] = {}
    has_helped = False
    for comparison in summary.comparisons:
        control = measure.value(summary.arm(comparison.control).mean)
        if teacher is not None and control is not None and teacher >= control:
            better[comparison.control] = control
            has_helped |= comparison.verdict == "helps"
    if not better:
        return
    decimals = 1 if measure.is_integer else 3
    result = measure.sentence.format(value=teacher)
    controls = [f"'{name}' ({value:.{decimals}f})" for name, value in better.items()]
    if len(controls) > MAX_LISTED:
        controls[MAX_LISTED:] = [f"{len(controls) - MAX_LISTED} more"]
    advice = "it has little to teach. Train a better teacher first."
    if has_helped:
        advice = "distillation helps all the same. A better teacher may help more."
    yield (
        f"The teacher, with {result}, is no better than the control {' and '.join(controls)}: "
        f"{advice}"
    )


def _uneven_comparisons(summary: Summary) -> Iterator[str]:
    """Warn of comparisons between arms that differ in more than the objective."""
    arms_by_difference: dict[tuple[str, str], list[str]] = {}
    for comparison in summary.comparisons:
        differences = _differences(summary, comparison)
        if differences:
            key = " and ".join(differences), comparison.control
            arms_by_difference.setdefault(key, []).append(comparison.arm)
    for (parts, control), names in arms_by_difference.items():
        possessive = "its" if len(names) == 1 else "their"
        yield (
            f"{_arms(names)} and {possessive} control '{control}' also differ in {parts}, so the "
            "comparison does not show the effect of distillation alone."
        )


def _differences(summary: Summary, comparison: Comparison) -> list[str]:
    """List the settings other than the objective in which two arms differ."""
    arm, control = summary.arm(comparison.arm), summary.arm(comparison.control)
    differences = []
    if (arm.views, arm.views_settings) != (control.views, control.views_settings):
        differences.append("views")
    if (arm.transfer, arm.transfer_settings) != (control.transfer, control.transfer_settings):
        differences.append("transfer")
    names = ["student", "optimizer", "epochs"]
    if arm.candidates and control.candidates:  # each has the best optimizer that validation found
        names.remove("optimizer")
    for name in names:
        if getattr(arm, name) != getattr(control, name):
            differences.append(name)
    return differences


def _failed_arms(summary: Summary) -> Iterator[str]:
    names = list(dict.fromkeys(student.arm for student in summary.failed))
    if names:
        verb = "is" if len(names) == 1 else "are"
        yield (
            f"{_arms(names)} failed for at least one seed and {verb} left out of all tables and "
            "comparisons."
        )


def _failed_controls(summary: Summary) -> Iterator[str]:
    arms_by_control: dict[str, list[str]] = {}
    for arm in summary.arms:
        if arm.failed_control is not None:
            arms_by_control.setdefault(arm.failed_control, []).append(arm.name)
    for control, names in arms_by_control.items():
        verb, possessive = ("has", "its") if len(names) == 1 else ("have", "their")
        yield (
            f"{_arms(names)} {verb} no comparison, because {possessive} control '{control}' failed."
        )


def _many_comparisons(summary: Summary) -> Iterator[str]:
    """Tell that verdicts are corrected for the number of comparisons."""
    number = len(summary.comparisons)
    if number > FEW_COMPARISONS:
        yield (
            f"{number} comparisons: their verdicts are corrected for that number, except the "
            "headline, which was chosen on the validation split. So an arm needs a larger effect "
            "than in a study of its own; confirm a promising one with new seeds."
        )


def _few_seeds(summary: Summary) -> Iterator[str]:
    if not summary.comparisons:
        return
    seeds = min((len(arm.seeds) for arm in summary.arms), default=0)
    if seeds < 2:
        yield "One seed gives no interval and therefore no verdict. Use seeds=5 or more."
    elif seeds < FEW_SEEDS:
        yield f"{seeds} seeds give a wide interval. Use seeds=5 or more for a firmer verdict."
    elif summary.splits is not None and summary.splits < FEW_SEEDS:
        yield (
            f"{summary.splits} splits give a wide interval, however many seeds each has. Use "
            "splits=5 or more for a firmer verdict."
        )


def _shared_teacher(summary: Summary) -> Iterator[str]:
    """Warn that a teacher may have been trained on validation samples of a split."""
    if summary.splits is not None and summary.teacher is not None and summary.teacher.sd is None:
        yield (
            f"One teacher serves all {summary.splits} splits. It may have been trained on samples "
            "of a validation split, so results on validation may be too good. The test split is "
            "not affected."
        )


def _arms_without_control(summary: Summary) -> Iterator[str]:
    compared = {comparison.arm for comparison in summary.comparisons}

    def lacks_control(arm: ArmResult) -> bool:
        return not (arm.control or arm.name in compared or arm.failed_control)

    names = [arm.name for arm in summary.arms if lacks_control(arm)]
    if names:
        verb = "has" if len(names) == 1 else "have"
        yield f"{_arms(names)} {verb} no control to compare with. Add an arm with soft_weight=0."


def _arms(names: Sequence[str]) -> str:
    """Format names as ``Arm 'a'``, ``Arms 'a' and 'b'`` or ``Arms 'a', 'b' and 7 more``."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) == 1:
        return f"Arm {quoted[0]}"
    if len(quoted) > MAX_LISTED:
        quoted = [*quoted[: MAX_LISTED - 1], f"{len(quoted) - MAX_LISTED + 1} more"]
    return f"Arms {', '.join(quoted[:-1])} and {quoted[-1]}"
