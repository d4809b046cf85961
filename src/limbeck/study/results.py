"""The summary of a study, made from the scores of its students."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from limbeck._base.errors import ConfigError, UntrustedFileError
from limbeck.data import Dataset
from limbeck.evaluation.comparison import mark_main
from limbeck.evaluation.constant import constant_result
from limbeck.evaluation.margin import (
    MIN_ERRORS,
    Margin,
    decide_within_margin,
    find_replacements,
    margin_of_study,
)
from limbeck.evaluation.measure import MEASURES
from limbeck.evaluation.metrics import mean_and_sd
from limbeck.evaluation.multiple_tests import correct_comparisons
from limbeck.evaluation.predictions import StudentKey
from limbeck.evaluation.study_warnings import study_warnings
from limbeck.run.comparison import Comparison
from limbeck.run.metrics import Metrics
from limbeck.run.records import to_json
from limbeck.run.summary import (
    AnswersFacts,
    ArmResult,
    ColumnFacts,
    DataFacts,
    FailedStudent,
    Seconds,
    Summary,
    parse_summary,
)
from limbeck.study.abstention import find_abstention
from limbeck.study.arms import ArmPlan
from limbeck.study.planning import controls_of
from limbeck.study.sample_scores import SampleScores
from limbeck.study.scores import ClassifierScores, LanguageModelScores, ModelFacts, StudyScores

NO_METRICS = Metrics(
    errors=None, accuracy=None, nll=None, ece=None, agreement=None, kl_to_teacher=None
)

NO_GAP = (
    "The margin is a share of the gap between control and teacher, but there is none: no arm was "
    "compared, or the teacher is no better than the control. So nothing was tested within it. Set "
    "it as a number or a share of the test samples, such as margin=0.5%."
)
SMALL_GAP = (
    "The margin is a share of the gap between control and teacher, and that share is less than "
    "3.7 errors, so nothing was tested within it: even models that agree on all test samples may "
    "differ by so many on others."
)


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """Facts of a summary other than the scores.

    Attributes:
        recipe: Name of the study.
        epochs: Number of training epochs of the students.
        batch_size: Batch size of the students.
        quick: Whether this is a quick run.
        seconds: Duration of each stage.
        arm_seconds: Training time of each arm.
        failed: Reason of the failure of each failed student. Tables and comparisons leave out arms
            with a failed student, because their pairs are incomplete.
        margin: Difference below which two models count as equally good; None for no tests of it.
        warnings: Additional warnings.
        answers: File of answers that is the teacher; None for models.
    """

    recipe: str
    epochs: int
    batch_size: int
    quick: bool
    seconds: Seconds
    arm_seconds: Mapping[str, float]
    failed: Mapping[StudentKey, str]
    margin: Margin | None = None
    warnings: Sequence[str] = ()
    answers: AnswersFacts | None = None


def summarize(
    scores: StudyScores, plans: Sequence[ArmPlan], data: Dataset, facts: StudyFacts
) -> Summary:
    """Create the summary of a study.

    Args:
        scores: Scores of the students of all arms without a failure.
        plans: All arms.
        data: Dataset of the study.
        facts: Settings, durations and failures.
    """
    failed_arms = {arm for arm, _ in facts.failed}
    complete = [plan for plan in plans if plan.name not in failed_arms]
    pairs = [(plan.name, control) for plan in complete for control in controls_of(plan, plans)]
    comparable = [(arm, control) for arm, control in pairs if control not in failed_arms]
    failed_controls = {arm: control for arm, control in pairs if control in failed_arms}

    arms = []
    for plan in complete:
        arm = _arm_result(plan, scores, data.class_names, facts.arm_seconds[plan.name])
        arms.append(replace(arm, failed_control=failed_controls.get(plan.name)))
    measure = data.kind.measure
    comparisons = [scores.compare(arm, control) for arm, control in comparable]
    marked = mark_main(comparisons, arms, MEASURES[measure])
    failed = [
        FailedStudent(arm=arm, seed=seed, reason=reason)
        for (arm, seed), reason in facts.failed.items()
    ]
    summary = Summary(
        recipe=facts.recipe,
        epochs=facts.epochs,
        batch_size=facts.batch_size,
        quick=facts.quick,
        data=_data_facts(data, scores),
        splits=scores.splits if scores.splits > 1 else None,
        measure=measure,
        classes=_names_of_outputs(data),
        teacher=scores.teacher,
        answers=facts.answers,
        arms=tuple(arms),
        comparisons=tuple(correct_comparisons(marked)),
        seconds=facts.seconds,
        failed=tuple(failed),
        adjusted_comparisons=_adjusted_comparisons(scores, comparable),
    )
    if isinstance(scores, ClassifierScores) and arms:
        summary = replace(summary, abstention=find_abstention(summary, scores))
    warnings = [*facts.warnings, *_edges(plans)]
    if facts.margin is not None:
        margin = margin_of_study(facts.margin, summary, MEASURES[measure])
        if margin is None:
            warnings.append(NO_GAP)
        elif measure == "errors" and margin < MIN_ERRORS:
            warnings.append(SMALL_GAP)
        else:
            summary = _decide_within_margin(summary, margin, scores)
    return replace(summary, warnings=(*study_warnings(summary), *warnings))


def _edges(plans: Sequence[ArmPlan]) -> list[str]:
    """Warn of values that validation chose at the edge of those that were tried."""
    edges = [f"'{plan.name}' ({plan.edge})" for plan in plans if plan.edge]
    if not edges:
        return []
    return [
        f"Validation chose a value at the edge of those that were tried for {', '.join(edges)}. "
        "Try values beyond it."
    ]


def _decide_within_margin(summary: Summary, margin: float, scores: StudyScores) -> Summary:
    """Add the tests within a margin to a summary."""
    test, measure = scores.test_difference, MEASURES[summary.measure]
    comparisons = decide_within_margin(summary.comparisons, margin, test)
    replacements = find_replacements(summary.arms, summary.teacher, measure, margin, test)
    return replace(
        summary, margin=margin, comparisons=tuple(comparisons), replacements=replacements
    )


def check_summary(name: str, plans: Sequence[ArmPlan], data: Dataset) -> None:
    """Check that the summary of a study can be written, before anything is trained.

    Args:
        name: Name of the study.
        plans: All arms.
        data: Dataset of the study.

    Raises:
        ConfigError: If a name or a setting cannot be written to JSON.
    """
    no_model = ModelFacts("", 0)
    no_seconds = Seconds(teacher=0.0, store=0.0, training=0.0, evaluation=0.0, total=0.0)
    summary = Summary(
        recipe=name,
        data=_data_facts(data),
        classes=_names_of_outputs(data),
        teacher=None,
        arms=tuple(_empty_arm(plan, no_model, data.class_names) for plan in plans),
        comparisons=(),
        seconds=no_seconds,
    )
    try:
        parse_summary(json.loads(json.dumps(to_json(summary))))
    except UntrustedFileError as error:
        raise ConfigError(f"The results could not be written to {error}") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The results could not be written to summary.json: {error}. The settings of views, "
            "sources and objectives should be numbers, strings, lists and dictionaries."
        ) from None


def _arm_result(
    plan: ArmPlan, scores: StudyScores, class_names: Sequence[str], seconds: float
) -> ArmResult:
    seeds = [scores.seeds[student] for student in scores.students_of(plan.name)]
    mean, sd = mean_and_sd([seed.test for seed in seeds])
    arm = _empty_arm(plan, scores.models[plan.name], class_names)
    adjusted = None
    if isinstance(scores, ClassifierScores) and scores.adjustment is not None:
        adjusted = scores.adjustment.results(plan.name, arm.absent)
    return replace(
        arm, seconds=round(seconds, 3), seeds=tuple(seeds), mean=mean, sd=sd, adjusted=adjusted
    )


def _empty_arm(plan: ArmPlan, model: ModelFacts, class_names: Sequence[str]) -> ArmResult:
    """Return an arm with its settings, but without students."""
    return ArmResult(
        name=plan.name,
        student=model.name,
        params=model.params,
        control=plan.is_control,
        objective=plan.objective.as_dict(),
        transfer=plan.transfer.name,
        transfer_settings=plan.transfer.settings(),
        absent=tuple(plan.transfer.absent(class_names)),
        views=plan.views.name,
        views_settings=plan.views.settings(),
        optimizer=asdict(plan.optimizer),
        epochs=plan.epochs,
        candidates=plan.candidates,
        reference=plan.is_reference or None,
        seeds=(),
        mean=NO_METRICS,
        sd=NO_METRICS,
    )


def _adjusted_comparisons(
    scores: StudyScores, pairs: Sequence[tuple[str, str]]
) -> tuple[Comparison, ...] | None:
    if not isinstance(scores, ClassifierScores) or scores.adjustment is None:
        return None
    return scores.adjustment.compare(pairs, scores.teacher)


def empty_summary(recipe: str, data: Dataset, seconds: Seconds) -> Summary:
    """Create a summary without results, for a process that does not score students."""
    return Summary(
        recipe=recipe,
        data=_data_facts(data),
        teacher=None,
        arms=(),
        comparisons=(),
        seconds=seconds,
    )


def _names_of_outputs(data: Dataset) -> tuple[str, ...]:
    """Return the names of classes or targets; none for tokens and for dimensions of embeddings."""
    has_names = data.positions is None and data.kind.outputs != "vectors"
    return tuple(data.class_names) if has_names else ()


def _column_facts(data: Dataset) -> tuple[ColumnFacts, ...] | None:
    if data.columns is None:
        return None
    columns = zip(data.columns.names, data.columns.sizes, data.gaps, strict=True)
    return tuple(
        ColumnFacts(name=name, categories=size or None, gaps=gaps) for name, size, gaps in columns
    )


def _data_facts(data: Dataset, scores: StudyScores | None = None) -> DataFacts:
    facts = DataFacts(
        name=data.name,
        classes=data.classes,
        train=len(data.train),
        val=len(data.val),
        test=data.test_size,
        columns=_column_facts(data),
        normalization=data.describe_normalization() or None,
    )
    if isinstance(scores, (ClassifierScores, SampleScores)):
        constant = constant_result(data.train.labels, scores.test_labels, data.kind)
        facts = replace(facts, constant=constant)
    if data.task not in ("classes", "next_token"):
        facts = replace(facts, task=data.task)
    if data.tokenizer is not None and data.positions is None:
        tokenizer = f"{data.tokenizer.name}, {data.tokenizer.size:,} tokens"
        facts = replace(facts, texts_tokenizer=tokenizer)
    if data.tokenizer is None or not isinstance(scores, LanguageModelScores):
        return facts
    block = data.shape[0]
    return replace(
        facts,
        tokenizer=data.tokenizer.name,
        block=block,
        tokens={"train": facts.train * block, "val": facts.val * block, "test": facts.test * block},
        bytes={"test": scores.size},
    )
