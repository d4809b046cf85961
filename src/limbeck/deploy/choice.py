"""Choice of the student to export or show, based on the validation split alone."""

from collections.abc import Sequence

from limbeck._base.checks import did_you_mean
from limbeck._base.errors import ConfigError
from limbeck.data import Dataset
from limbeck.report.formats import count
from limbeck.run.summary import ArmResult, SeedResult, Summary


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
        arm: Name of the arm. None for the best one, see :func:`best_student`.
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
    is_text = summary.measure == "bits_per_byte"
    if arm is None:
        arm, best_seed = best_student(summary.arms, is_text=is_text, with_controls=with_controls)
    elif arm in arms:
        _, best_seed = best_student([arms[arm]], is_text=is_text)
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
    arms: Sequence[ArmResult], *, is_text: bool = False, with_controls: bool = False
) -> tuple[str, int]:
    """Find the arm and seed of the best student on the validation split.

    The distilled arm with the fewest errors, averaged over seeds, comes first, then its best seed.
    Ties go to the lower NLL, and text is compared by NLL alone. If there is no distilled arm, the
    best of the others is chosen.

    Args:
        arms: Results of at least one arm.
        is_text: Whether the students are language models.
        with_controls: Whether to choose a control that is better than every distilled arm. An arm
            that learned from shuffled answers is never preferred to a distilled one.
    """
    distilled = [arm for arm in arms if _is_distilled(arm)]
    candidates = list(distilled)
    if with_controls:
        candidates += [arm for arm in arms if arm.control and not arm.is_shuffled]
    # distilled arms come first, so they win ties
    arm = min(candidates or arms, key=lambda arm: _validation_loss(arm.seeds, is_text))
    result = min(arm.seeds, key=lambda result: _validation_loss([result], is_text))
    return arm.name, result.seed


def number_of_students(summary: Summary) -> int:
    """Count the students of a run, among which one is chosen on the validation split."""
    return sum(len(arm.seeds) for arm in summary.arms)


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
    other = summary.arm(best_student(distilled)[0])
    errors, _ = _validation_loss(arm.seeds, is_text=False)
    other_errors, _ = _validation_loss(other.seeds, is_text=False)
    comparison = f"{count(errors)} validation errors, {other.name} makes {count(other_errors)}"
    if errors == other_errors:
        comparison += " with a higher NLL"
    return (
        f"Arm {name} learned from labels alone. It was chosen because it is better on the "
        f"validation split than every distilled arm: it makes {comparison} (means over seeds). For "
        f"the distilled student, set arm={other.name}."
    )


def _is_distilled(arm: ArmResult) -> bool:
    return not arm.control and not arm.is_shuffled


def _validation_loss(results: Sequence[SeedResult], is_text: bool) -> tuple[float, float]:
    """Mean validation errors (0 for text) and mean NLL. Lower is better."""
    errors = 0.0 if is_text else sum(result.val.errors or 0 for result in results)
    nll = sum(float("inf") if result.val.nll is None else result.val.nll for result in results)
    return errors / len(results), nll / len(results)


def check_is_classifier(data: Dataset, verb: str) -> None:
    """Refuse language models where classifiers are expected.

    Args:
        data: Dataset of the run.
        verb: Verb of the command line, for the message.

    Raises:
        ConfigError: If the dataset is text.
    """
    if data.positions is not None:
        raise ConfigError(
            f"'limbeck {verb}' needs classifiers, but {data.name} is text. The students of this "
            "run are stored under students/ as model.safetensors; 'limbeck sample' generates text "
            "with them."
        )
