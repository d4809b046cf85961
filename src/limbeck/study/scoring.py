"""Every model of a study scored, on validation and, for the first and only time, on the test split."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.progress import Advance
from limbeck.data import Dataset, Split
from limbeck.data.batches import EvaluationBatches
from limbeck.evaluation.adjusted import Answered, Student
from limbeck.evaluation.bias import class_prior, prior_bias, recall
from limbeck.evaluation.kappa import fit_offsets
from limbeck.evaluation.metrics import all_metrics, predict
from limbeck.evaluation.summary import comparison
from limbeck.evaluation.text import Batch, TokenScores, compare_tokens, score_tokens, token_metrics
from limbeck.models import count_parameters, model_name
from limbeck.teacher.signal import LiveTeacher

KEPT_LOGITS = 1 << 28
"""Of a teacher's answers to a split of text, at most; beyond that it is asked again for every
student.
"""


@dataclass(frozen=True)
class Scored(ABC):
    """Every model of a study, scored.

    Attributes:
        seeds: ``{"seed", "val", "test"}`` of each student, as in ``summary.json``.
        sizes: name and number of parameters of each arm's student.
        teacher: the teacher's entry in ``summary.json``.
    """

    seeds: dict[Student, dict[str, Any]]
    sizes: dict[str, tuple[str, int]]
    teacher: dict[str, Any] | None

    @abstractmethod
    def compare(self, arm: Mapping[str, Any], control: Mapping[str, Any]) -> dict[str, Any]:
        """The comparison of two arms, by their entries in ``summary.json``."""

    @abstractmethod
    def arrays(self) -> dict[str, Any]:
        """What ``predictions.npz`` keeps."""


@dataclass(frozen=True)
class ScoredClassifiers(Scored):
    """Classifiers, by their logits.

    Attributes:
        val: validation logits of each student, and what they are scored against.
        test: likewise, on the test split.
        test_inputs: of the test split.
        biases: constants for the logits of each student, if the study sets any.
    """

    val: Answered
    test: Answered
    test_inputs: Tensor
    biases: dict[Student, Tensor]

    def compare(self, arm: Mapping[str, Any], control: Mapping[str, Any]) -> dict[str, Any]:
        """By errors."""
        teacher = self.teacher and self.teacher["test"]
        return comparison(arm, control, self.test.logits, self.test.labels, teacher)

    def arrays(self) -> dict[str, Any]:
        """Labels and test logits."""
        arrays: dict[str, Any] = {"labels": self.test.labels.numpy()}
        if self.test.teacher is not None:
            arrays["teacher"] = self.test.teacher.numpy()
        return arrays | {
            f"students/{arm}/seed{seed}": found.numpy()
            for (arm, seed), found in self.test.logits.items()
        }


@dataclass(frozen=True)
class ScoredLanguageModels(Scored):
    """Language models, by the nats of each token.

    Attributes:
        test: scores of each student.
        test_teacher: of the teacher, if there is one.
        size: bytes of text that the test labels stand for.
    """

    test: dict[Student, TokenScores]
    test_teacher: TokenScores | None
    size: int

    def compare(self, arm: Mapping[str, Any], control: Mapping[str, Any]) -> dict[str, Any]:
        """By bits per byte."""
        first, second = (
            [self.test[entry["name"], seed["seed"]] for seed in entry["seeds"]]
            for entry in (arm, control)
        )
        found = compare_tokens(first, second, self.size, self.test_teacher)
        return {"arm": arm["name"], "control": control["name"], **found}

    def arrays(self) -> dict[str, Any]:
        """Nats of each test token, ``[N, T]``."""
        scores = {f"students/{arm}/seed{seed}": found for (arm, seed), found in self.test.items()}
        if self.test_teacher is not None:
            scores["teacher"] = self.test_teacher
        return {f"nll/{name}": found.nll.numpy() for name, found in scores.items()}


Students = Mapping[Student, Callable[[], nn.Module]]


def score(
    data: Dataset,
    students: Students,
    teacher: LiveTeacher | None,
    advance: Advance,
    *,
    bias: str | None = None,
    absent: Mapping[str, Sequence[int]] | None = None,
) -> Scored:
    """Score everything on validation and, for the first and only time, on the test split.

    Args:
        data: opened here.
        students: read one after the other.
        teacher: to agree with.
        advance: told how many models are done.
        bias: how constants for the students' logits are set, see
            :data:`limbeck.evaluation.bias.BIASES`; None for none.
        absent: the classes that the students of an arm never saw, by its name.
    """
    if data.tokenizer is not None:
        return _language_models(data, students, teacher, advance)
    splits, measure = (data.val, data.open_test()), partial(all_metrics, ordinal=data.ordinal)
    asked = [None if teacher is None else _ask(teacher, split) for split in splits]
    val, test = (
        Answered({}, split.labels, theirs) for split, theirs in zip(splits, asked, strict=True)
    )
    prior = class_prior(data.train.labels, data.classes)
    advance(done := int(teacher is not None))
    biases: dict[Student, Tensor] = {}
    seeds: dict[Student, dict[str, Any]] = {}
    sizes: dict[str, tuple[str, int]] = {}
    for student, read in students.items():
        model = read()
        sizes[student[0]] = model_name(model), count_parameters(model)
        for split, answered in zip(splits, (val, test), strict=True):
            answered.logits[student] = _answers_of(model, split)
        seeds[student] = {
            "seed": student[1],
            "val": measure(val.logits[student], val.labels, val.teacher),
            "test": measure(test.logits[student], test.labels, test.teacher),
        }
        if bias is not None:
            seeds[student]["recall"] = recall(test.logits[student], test.labels)
            never_seen = (absent or {}).get(student[0], ())
            if (
                bias == "prior"
            ):  # of the very inputs whose mean softmax is set to it, so that no chance lies between
                biases[student] = prior_bias(_answers_of(model, data.train), prior, never_seen)
            else:
                biases[student] = fit_offsets(val.logits[student], val.labels)
        advance(done := done + 1)
    found = [measure(a.teacher, a.labels, a.teacher) for a in (val, test) if a.teacher is not None]
    return ScoredClassifiers(
        seeds, sizes, _teacher_entry(teacher, found), val, test, splits[1].inputs, biases
    )


def _ask(teacher: LiveTeacher, split: Split) -> Tensor:
    return torch.cat([teacher(batch.x[0]).cpu() for batch in EvaluationBatches(split)])


def _answers_of(model: nn.Module, split: Split) -> Tensor:
    return predict(model, (batch.x[0] for batch in EvaluationBatches(split)))


def _teacher_entry(
    teacher: LiveTeacher | None, metrics: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """The teacher in ``summary.json``, with its metrics on validation and test."""
    if teacher is None:
        return None
    names = [model_name(model) for model in teacher.models]
    return {
        "name": names[0] if len(names) == 1 else f"{len(names)} x {names[0]} ({teacher.combine})",
        "params": sum(count_parameters(model) for model in teacher.models),
        "val": metrics[0],
        "test": metrics[1],
    }


# Text ---------------------------------------------------------------------------------------------


def _language_models(
    data: Dataset, students: Students, teacher: LiveTeacher | None, advance: Advance
) -> ScoredLanguageModels:
    """Score language models, token by token."""
    assert data.tokenizer is not None
    splits = (data.val, data.open_test())
    sizes = [text_bytes(data, split) for split in splits]
    batches = [_batches_of(split, teacher, data.classes) for split in splits]

    def scored(model: nn.Module | None) -> tuple[TokenScores, list[dict[str, Any]]]:
        """Test scores of a model, or of the teacher, and metrics on both splits."""
        scores = [score_tokens(give(), model) for give in batches]
        return scores[1], [
            token_metrics(found, size) for found, size in zip(scores, sizes, strict=True)
        ]

    of_teacher, metrics = (None, []) if teacher is None else scored(None)
    advance(done := int(teacher is not None))
    test: dict[Student, TokenScores] = {}
    seeds: dict[Student, dict[str, Any]] = {}
    params: dict[str, tuple[str, int]] = {}
    for student, read in students.items():
        model = read()
        params[student[0]] = model_name(model), count_parameters(model)
        test[student], (on_val, on_test) = scored(model)
        seeds[student] = {"seed": student[1], "val": on_val, "test": on_test}
        advance(done := done + 1)
    return ScoredLanguageModels(
        seeds, params, _teacher_entry(teacher, metrics), test, of_teacher, sizes[1]
    )


def text_bytes(data: Dataset, split: Split) -> int:
    """Bytes of text that the labels of a split stand for."""
    assert data.tokenizer is not None
    counts = torch.zeros(data.classes, dtype=torch.int64)
    for part in split.labels.split(1 << 12):
        counts += torch.bincount(part.flatten().long(), minlength=data.classes)
    return int((counts * torch.as_tensor(data.tokenizer.lengths)).sum())


def _batches_of(
    split: Split, teacher: LiveTeacher | None, classes: int
) -> Callable[[], Iterator[Batch]]:
    """A function that gives the batches of a split, the teacher's answers kept where they are not
    too many.
    """
    pairs = [(batch.x[0], batch.y[0]) for batch in EvaluationBatches(split, classes=classes)]
    keep = teacher is not None and split.labels.numel() * classes <= KEPT_LOGITS
    kept: dict[int, Tensor] = {}

    def give() -> Iterator[Batch]:
        for number, (x, y) in enumerate(pairs):
            theirs = kept.get(number)
            if teacher is not None and theirs is None:
                theirs = teacher(x).cpu()
            if keep and theirs is not None:
                kept[number] = theirs
            yield x, y, theirs

    return give
