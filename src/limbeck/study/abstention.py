"""What the best student of a study answers if it may abstain."""

import numpy as np
from torch import Tensor

from limbeck.deploy.choice import choose_student, number_of_students
from limbeck.evaluation.abstention import ERROR_RATES, Answers, answers_of, safe_threshold
from limbeck.evaluation.calibration import fit_temperature
from limbeck.evaluation.metrics import top_class
from limbeck.evaluation.split_predictions import SplitPredictions, StudentKey
from limbeck.run.abstention import Abstention, AbstentionRow
from limbeck.run.summary import Summary
from limbeck.study.scoring import ClassifierScores


def find_abstention(summary: Summary, scores: ClassifierScores) -> Abstention | None:
    """Find thresholds of the student that ``limbeck export`` packs, and count on the test split.

    Args:
        summary: Summary of the study, with at least one arm.
        scores: Scores of its students.

    Returns:
        The thresholds; None if the student's logits are not finite.
    """
    student = choose_student(summary, with_controls=True)
    candidates = number_of_students(summary)
    val_logits, labels = scores.val.logits[student].numpy(), scores.val.labels.numpy()
    if not len(labels) or not np.isfinite(val_logits).all():
        return None
    temperature = fit_temperature(val_logits, labels)
    val, test = (_answers(split, student, temperature) for split in (scores.val, scores.test))
    rows: list[AbstentionRow] = []
    for error_rate in ERROR_RATES:
        threshold = safe_threshold(val, error_rate, candidates=candidates)
        if threshold is None:
            continue
        errors, answered = test.errors_above(threshold)
        rows.append(
            AbstentionRow(
                error_rate=error_rate,
                threshold=threshold,
                answered=answered,
                errors=errors,
                cascade_errors=_cascade_errors(scores.test, test, threshold),
            )
        )
    arm, seed = student
    return Abstention(
        arm=arm, seed=seed, temperature=temperature, candidates=candidates, rows=tuple(rows)
    )


def _answers(split: SplitPredictions, student: StudentKey, temperature: float) -> Answers:
    return answers_of(split.logits[student].numpy(), split.labels.numpy(), temperature)


def _cascade_errors(split: SplitPredictions, answers: Answers, threshold: float) -> int | None:
    """Count the errors if the teacher answers what the student does not."""
    if split.teacher is None:
        return None
    teacher: Tensor = top_class(split.teacher) != split.labels
    is_answered = answers.confidence >= threshold
    return int((answers.wrong & is_answered).sum() + (teacher.numpy() & ~is_answered).sum())
