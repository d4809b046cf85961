"""What a student answers if it may abstain: the record ``abstention`` in ``summary.json``."""

from dataclasses import dataclass

from limbeck.run.records import optional


@dataclass(frozen=True, kw_only=True)
class AbstentionRow:
    """Answers of a student above a threshold of confidence.

    Attributes:
        error_rate: Error rate that the answers have at most, with a probability of 95 %.
        threshold: Confidence below which the student abstains, from the validation split.
        answered: Number of test samples that it answers.
        errors: Number of errors among these answers.
        cascade_errors: Number of errors on the whole test split if the teacher answers the other
            samples; None without a teacher.
    """

    error_rate: float
    threshold: float
    answered: int
    errors: int
    cascade_errors: int | None = optional()


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """What the student that ``limbeck export`` packs answers if it may abstain.

    Attributes:
        arm: Arm of the student.
        seed: Seed of the student.
        temperature: Temperature of its confidences, fitted on the validation split.
        candidates: Number of students among which it was chosen.
        rows: Thresholds for several error rates; those that cannot be guaranteed are left out.
    """

    arm: str
    seed: int
    temperature: float
    candidates: int
    rows: tuple[AbstentionRow, ...]
