"""What the best student of a study answers if it may abstain."""

import numpy as np
from torch import Tensor

from limbeck.deploy.choice import choose_student, number_of_students
from limbeck.evaluation.abstention import ERROR_RATES, Answers, answers_of, safe_threshold
from limbeck.evaluation.calibration import fit_temperature
from limbeck.evaluation.metrics import top_class
from limbeck.evaluation.predictions import Predictions
from limbeck.run.abstention import Abstention, AbstentionRow
from limbeck.run.summary import Summary
from limbeck.study.scores import ClassifierScores


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
    on_val, on_test = scores.val[student], scores.test[student]
    val_logits, labels = on_val.logits.numpy(), on_val.labels.numpy()
    if not len(labels) or not np.isfinite(val_logits).all():
        return None
    temperature = fit_temperature(val_logits, labels)
    val, test = (_answers(predictions, temperature) for predictions in (on_val, on_test))
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
                cascade_errors=_cascade_errors(on_test, test, threshold),
            )
        )
    arm, seed = student
    return Abstention(
        arm=arm, seed=seed, temperature=temperature, candidates=candidates, rows=tuple(rows)
    )


def _answers(predictions: Predictions, temperature: float) -> Answers:
    logits, labels = predictions.logits.numpy(), predictions.labels.numpy()
    return answers_of(logits, labels, temperature)


def _cascade_errors(predictions: Predictions, answers: Answers, threshold: float) -> int | None:
    """Count the errors if the teacher answers what the student does not."""
    if predictions.teacher is None:
        return None
    teacher: Tensor = top_class(predictions.teacher) != predictions.labels
    is_answered = answers.confidence >= threshold
    return int((answers.wrong & is_answered).sum() + (teacher.numpy() & ~is_answered).sum())
