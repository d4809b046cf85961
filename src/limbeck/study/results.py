"""Results of a study: summary, predictions, examples and adjusted students."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck._base.files import write_atomically
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.evaluation.comparison import mark_main
from limbeck.evaluation.examples import select_examples
from limbeck.evaluation.measure import MEASURES
from limbeck.evaluation.metrics import mean_and_sd
from limbeck.evaluation.predictions import StudentKey
from limbeck.evaluation.study_warnings import study_warnings
from limbeck.models import save_model
from limbeck.models.bias import add_to_logits
from limbeck.run.folder import RunFolder
from limbeck.run.summary import (
    ArmResult,
    Comparison,
    DataFacts,
    FailedStudent,
    MeasureKey,
    Seconds,
    Summary,
)
from limbeck.study.arms import ArmPlan, controls_of
from limbeck.study.scoring import ClassifierScores, LanguageModelScores, Students, StudyScores

PROBE_SIZE = 16
"""Number of inputs on which a model is compared before and after its constants are folded in."""


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
        warnings: Additional warnings.
    """

    recipe: str
    epochs: int
    batch_size: int
    quick: bool
    seconds: Seconds
    arm_seconds: Mapping[str, float]
    failed: Mapping[StudentKey, str]
    warnings: Sequence[str] = ()


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
    measure: MeasureKey = "errors" if data.tokenizer is None else "bits_per_byte"
    comparisons = [scores.compare(arm, control) for arm, control in comparable]
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
        measure=measure,
        classes=tuple(data.class_names) if data.tokenizer is None else (),
        teacher=scores.teacher,
        arms=tuple(arms),
        comparisons=tuple(mark_main(comparisons, arms, MEASURES[measure])),
        seconds=facts.seconds,
        failed=tuple(failed),
        adjusted_comparisons=_adjusted_comparisons(scores, comparable),
    )
    return replace(summary, warnings=(*study_warnings(summary), *facts.warnings))


def _arm_result(
    plan: ArmPlan, scores: StudyScores, class_names: Sequence[str], seconds: float
) -> ArmResult:
    seeds = [scores.seeds[student] for student in scores.students_of(plan.name)]
    mean, sd = mean_and_sd([seed.test for seed in seeds])
    model = scores.models[plan.name]
    absent = plan.transfer.absent(class_names)
    adjusted = None
    if isinstance(scores, ClassifierScores) and scores.adjustment is not None:
        adjusted = scores.adjustment.results(plan.name, absent)
    return ArmResult(
        name=plan.name,
        student=model.name,
        params=model.params,
        control=plan.is_control,
        objective=plan.objective.as_dict(),
        transfer=plan.transfer.name,
        transfer_settings=plan.transfer.settings(),
        absent=tuple(absent),
        views=plan.views.name,
        views_settings=plan.views.settings(),
        optimizer=asdict(plan.optimizer),
        epochs=plan.epochs,
        seconds=round(seconds, 3),
        seeds=tuple(seeds),
        mean=mean,
        sd=sd,
        adjusted=adjusted,
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


def _data_facts(data: Dataset, scores: StudyScores | None = None) -> DataFacts:
    facts = DataFacts(
        name=data.name,
        classes=data.classes,
        train=len(data.train),
        val=len(data.val),
        test=data.test_size,
    )
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


def write_predictions(run: RunFolder, scores: StudyScores) -> None:
    """Write ``predictions.npz``: the logits on the test split, or the NLL of each token of text."""
    _write_arrays(run.predictions, scores.arrays())


def write_examples(run: RunFolder, scores: StudyScores, summary: Summary, count: int) -> None:
    """Write ``examples.npz``: test images on which the main arm and its control differ.

    Nothing is written unless the inputs are uint8 images ``[N, C, H, W]`` and there is a main
    comparison.

    Args:
        run: Folder of the run.
        scores: Scores of all students.
        summary: Summary of the run.
        count: Maximum number of images; 0 for none.
    """
    main = summary.main_comparison
    if main is None or not count or not isinstance(scores, ClassifierScores):
        return
    images, test = scores.test_inputs, scores.test
    is_image = images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] in (1, 3)
    if not is_image:
        return
    arm, control = _stacked_logits(scores, main.arm), _stacked_logits(scores, main.control)
    examples = select_examples(arm, control, test.labels.numpy(), count)
    if not examples.rows:
        return
    arrays = {
        "arm": arm[examples.seeds, examples.rows],
        "control": control[examples.seeds, examples.rows],
        "images": images[examples.rows].numpy(),
        "labels": test.labels[examples.rows].numpy(),
        "rows": np.array(examples.rows),
        "names": np.array([main.arm, main.control]),
        "classes": np.array(summary.classes),
        "temperature": np.array(summary.arm(main.arm).objective.get("temperature", 1.0)),
        "alone": np.array([examples.arm_alone, examples.control_alone]),
    }
    if test.teacher is not None:
        arrays["teacher"] = test.teacher[examples.rows].numpy()
    _write_arrays(run.examples, arrays)


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def _stacked_logits(scores: ClassifierScores, arm: str) -> np.ndarray:
    """Return the test logits of all seeds of an arm, ``[S, N, C]``."""
    return np.stack([scores.test.logits[student].numpy() for student in scores.students_of(arm)])


def save_adjusted(
    scores: StudyScores, students: Students, data: Dataset, run: RunFolder
) -> list[str]:
    """Save every student with its constants folded into the bias of its last layer.

    The models are saved in a subfolder of the student's folder, named after the method.

    Returns:
        A warning for each arm whose students have no bias in the last layer.
    """
    if not isinstance(scores, ClassifierScores) or scores.adjustment is None:
        return []
    method = scores.adjustment.how
    arms_without_bias: list[str] = []
    for (arm, seed), bias in scores.adjustment.biases.items():
        model = students[arm, seed]().eval()
        if add_to_logits(model, bias, as_float(data.val.inputs[:PROBE_SIZE])):
            save_model(model, run.student(arm, seed) / method, class_names=data.class_names)
        else:
            arms_without_bias.append(arm)
    return [
        f"The students of arm '{arm}' have no bias in their last layer, so they could not be saved "
        f"with the constants of bias={method}: add those of summary.json to their logits."
        for arm in dict.fromkeys(arms_without_bias)
    ]
