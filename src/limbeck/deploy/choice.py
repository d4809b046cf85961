"""Choice of the student to export or show, based on the validation split alone."""

import math
from collections.abc import Sequence
from statistics import fmean

from limbeck._base.checks import did_you_mean
from limbeck._base.errors import ConfigError
from limbeck.data import Dataset
from limbeck.evaluation.measure import MEASURES
from limbeck.report.formats import count
from limbeck.run.summary import ArmResult, MeasureKey, SeedResult, Summary


def choose_student(
    summary: Summary,
    arm: str | None = None,
    seed: int | None = None,
    *,
    with_controls: bool = False,
) -> tuple[str, int]:
    """Choose the arm and the seed of a student. The test split is not used.

    Args:
        summary: Summary of the run.
        arm: Name of the arm. None for the best one, see :func:`best_student`; arms that are there
            for reference alone are left out.
        seed: Seed of the student. None for the best seed of the arm.
        with_controls: Whether the best arm may be a control.

    Returns:
        Name of the arm, and seed.

    Raises:
        ConfigError: If the run has no such student.
    """
    arms = {entry.name: entry for entry in summary.arms}
    if not arms:
        raise ConfigError("This run has no students: it trained only the teacher.")
    if arm is None:
        candidates = _without_references(summary.arms)
        arm, best_seed = best_student(candidates, summary.measure, with_controls=with_controls)
    elif arm in arms:
        _, best_seed = best_student([arms[arm]], summary.measure)
    else:
        hint = did_you_mean(arm, arms)
        raise ConfigError(f"arm={arm} is not an arm of this run.{hint} Arms: {', '.join(arms)}.")
    if seed is None:
        return arm, best_seed
    seeds = [result.seed for result in arms[arm].seeds]
    if seed not in seeds:
        raise ConfigError(
            f"seed={seed} is not a seed of arm {arm}. Seeds: {', '.join(map(str, seeds))}."
        )
    return arm, seed


def best_student(
    arms: Sequence[ArmResult], measure: MeasureKey = "errors", *, with_controls: bool = False
) -> tuple[str, int]:
    """Find the arm and seed of the best student on the validation split.

    The distilled arm with the fewest errors, averaged over seeds, comes first, then its best seed.
    Ties go to the lower NLL. Text is compared by NLL alone, and regressions by their squared error.
    If there is no distilled arm, the best of the others is chosen.

    Args:
        arms: Results of at least one arm.
        measure: Metric by which the study is judged.
        with_controls: Whether to choose a control that is better than every distilled arm. An arm
            that learned from shuffled answers is never preferred to a distilled one.
    """
    distilled = [arm for arm in arms if _is_distilled(arm)]
    candidates = list(distilled)
    if with_controls:
        candidates += [arm for arm in arms if arm.control and not arm.is_shuffled]
    # distilled arms come first, so they win ties
    arm = min(candidates or arms, key=lambda arm: _validation_loss(arm.seeds, measure))
    result = min(arm.seeds, key=lambda result: _validation_loss([result], measure))
    return arm.name, result.seed


def number_of_students(summary: Summary) -> int:
    """Count the students of a run, among which one is chosen on the validation split."""
    return sum(len(arm.seeds) for arm in _without_references(summary.arms))


def describe_choice(summary: Summary, name: str) -> str:
    """Explain why a control is preferred to the distilled arms; empty for other arms.

    Args:
        summary: Summary of the run.
        name: Arm that was chosen with :func:`choose_student`.
    """
    arm = summary.arm(name)
    distilled = [other for other in summary.arms if _is_distilled(other)]
    if not arm.control or not distilled:
        return ""
    other = summary.arm(best_student(distilled, summary.measure)[0])
    value, _ = _validation_loss(arm.seeds, summary.measure)
    other_value, _ = _validation_loss(other.seeds, summary.measure)
    if summary.measure == "squared_error":
        comparison = f"has a squared error of {value:.4f}, {other.name} of {other_value:.4f}"
    elif summary.measure == "label_errors":
        comparison = f"has {count(value)} wrong labels, {other.name} has {count(other_value)}"
    elif summary.measure == "missed_neighbours":
        comparison = f"misses {value:.3f} of 10 neighbours, {other.name} misses {other_value:.3f}"
    else:
        comparison = f"makes {count(value)} validation errors, {other.name} makes"
        comparison += f" {count(other_value)}"
        if value == other_value:
            comparison += " with a higher NLL"
    source = "the texts" if summary.measure == "missed_neighbours" else "labels"
    return (
        f"Arm {name} learned from {source} alone. It was chosen because it is better on the "
        f"validation split than every distilled arm: it {comparison} (means over seeds). For "
        f"the distilled student, set arm={other.name}."
    )


def _without_references(arms: Sequence[ArmResult]) -> list[ArmResult]:
    """Return the arms whose students may be exported; all if there are no others."""
    return [arm for arm in arms if not arm.reference] or list(arms)


def _is_distilled(arm: ArmResult) -> bool:
    return not arm.control and not arm.is_shuffled


def _validation_loss(results: Sequence[SeedResult], measure: MeasureKey) -> tuple[float, float]:
    """Mean of the measure on validation (0 for text), and mean NLL. Lower is better."""
    if measure in ("squared_error", "label_errors", "missed_neighbours"):
        values = [MEASURES[measure].value(result.val) for result in results]
        return fmean(math.inf if value is None else value for value in values), 0.0
    is_text = measure == "bits_per_byte"
    errors = 0.0 if is_text else sum(result.val.errors or 0 for result in results)
    nll = sum(float("inf") if result.val.nll is None else result.val.nll for result in results)
    return errors / len(results), nll / len(results)


def check_has_one_answer(data: Dataset, verb: str) -> None:
    """Refuse language models where models with one answer per input are expected.

    Args:
        data: Dataset of the run.
        verb: Verb of the command line, for the message.

    Raises:
        ConfigError: If the dataset is text to continue.
    """
    if verb == "fit" and (data.kind.outputs == "vectors" or data.positions is not None):
        raise ConfigError(
            f"'limbeck fit' searches for classifiers and regressors, but {data.name} is for "
            f"{'text' if data.positions is not None else data.kind.description}. Use 'limbeck run'."
        )
    if data.positions is not None:
        raise ConfigError(
            f"'limbeck {verb}' needs classifiers, but {data.name} is text. The students of this "
            "run are stored under students/ as model.safetensors; 'limbeck sample' generates text "
            "with them."
        )
