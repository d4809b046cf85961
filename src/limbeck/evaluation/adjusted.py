"""Trained students with constants added to their logits: their entries in ``summary.json``, beside
those as trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limbeck.evaluation.bias import CHOSEN_ON_TEST, bias_chosen_on_test, recall
from limbeck.evaluation.metrics import all_metrics
from limbeck.evaluation.summary import comparison, mean_and_sd

Student = tuple[str, int]
"""Name of the arm and seed."""


@dataclass(frozen=True)
class Answered:
    """Logits on one split and what they are scored against.

    Attributes:
        logits: of each student, ``[N, C]``.
        labels: int64 ``[N]``.
        teacher: logits ``[N, C]``, or None.
    """

    logits: dict[Student, Tensor]
    labels: Tensor
    teacher: Tensor | None


def adjusted_entries(
    arm: str,
    how: str,
    biases: Mapping[Student, Tensor],
    val: Answered,
    test: Answered,
    absent: Sequence[int],
    *,
    ordinal: bool = False,
) -> list[dict[str, Any]]:
    """What ``adjusted`` holds for an arm: results with constants that the study may use, then those
    chosen on the test.

    Args:
        arm: its name.
        how: the constants were set.
        biases: those of each student, ``[C]``.
        val: validation answers.
        test: test answers.
        absent: the classes that the students never saw; without any nothing is chosen on the test.
        ordinal: classes are grades.
    """
    own = {student: bias for student, bias in biases.items() if student[0] == arm}
    found = [_entry(how, own, val, test, ordinal)]
    if absent:
        chosen = {
            student: bias_chosen_on_test(test.logits[student], test.labels, absent)
            for student in own
        }
        found.append(_entry(CHOSEN_ON_TEST, chosen, val, test, ordinal))
    return found


def _entry(
    how: str, biases: Mapping[Student, Tensor], val: Answered, test: Answered, ordinal: bool
) -> dict[str, Any]:
    seeds: list[dict[str, Any]] = []
    for student, bias in biases.items():
        moved = {"val": val.logits[student] + bias, "test": test.logits[student] + bias}
        metrics = {
            part: all_metrics(moved[part], split.labels, split.teacher, ordinal=ordinal)
            for part, split in (("val", val), ("test", test))
        }
        seeds.append(
            {
                "seed": student[1],
                "bias": bias.tolist(),
                **metrics,
                "recall": recall(moved["test"], test.labels),
            }
        )
    mean, sd = mean_and_sd([seed["test"] for seed in seeds])
    return {"how": how, "seeds": seeds, "mean": mean, "sd": sd}


def adjusted_comparisons(
    pairs: Sequence[tuple[str, str]],
    how: str,
    biases: Mapping[Student, Tensor],
    arms: Mapping[str, Mapping[str, Any]],
    test: Answered,
    teacher: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """Comparisons of arms with their controls, both with their constants; never with those chosen
    on the test.

    Args:
        pairs: arm and control.
        how: the constants were set.
        biases: those of each student, ``[C]``.
        arms: entries of ``summary.json`` by name, ``adjusted`` among them.
        test: test answers.
        teacher: test metrics of the teacher.
    """
    logits = {student: test.logits[student] + bias for student, bias in biases.items()}

    def adjusted(name: str) -> dict[str, Any]:
        entry = next(entry for entry in arms[name]["adjusted"] if entry["how"] == how)
        return {"name": name, "seeds": entry["seeds"]}

    return [
        {"how": how, **comparison(adjusted(arm), adjusted(control), logits, test.labels, teacher)}
        for arm, control in pairs
    ]
