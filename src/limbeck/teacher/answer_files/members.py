"""Several answers to one sample: those of an ensemble's members, or of several annotators."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck._base.errors import TeacherError
from limbeck.teacher.answer_files.answers import StoredAnswers
from limbeck.teacher.answer_files.columns import LABELS, PROBABILITIES
from limbeck.teacher.answer_files.kinds import FLOOR
from limbeck.teacher.signal import LABELS as SEVERAL_LABELS
from limbeck.teacher.signal import combine_outputs


def combine_members(answers: StoredAnswers, members: NDArray | None, combine: str) -> StoredAnswers:
    """Combine the answers of several members to each sample.

    Args:
        answers: Answers of all members.
        members: Member of each answer, ``[N]``; None if there is one answer for each sample.
        combine: Combination of :class:`~limbeck.teacher.signal.LiveTeacher`. Labels of classes are
            always averaged as votes.

    Raises:
        TeacherError: If a member answers a sample twice, or answers have few classes each.
    """
    if members is None:
        return answers
    samples, first = _number_samples(answers)
    names = {name: number for number, name in enumerate(dict.fromkeys(members.tolist()))}
    codes = np.array([names[name] for name in members.tolist()])
    if len(np.unique(samples * len(names) + codes)) < len(samples):
        raise TeacherError(
            f"{answers.where}: a member answers a sample more than once. Expected one row for each "
            "member and sample."
        )
    if len(first) == len(samples):
        return answers
    if answers.top is not None and answers.kind != LABELS:
        raise TeacherError(
            f"{answers.where}: several answers of the most probable classes cannot be averaged. "
            "Give a value for every class."
        )
    if answers.kind == LABELS:
        records, word = _votes(answers, samples, len(first)), "votes"
    else:
        order = np.lexsort((codes, samples))
        counts = np.bincount(samples)
        word = "probabilities" if combine == SEVERAL_LABELS else combine
        records = _mean(answers.records[order], counts, combine)
    note = f"{len(names)} answers per sample, averaged as {word}"
    return replace(
        answers,
        kind=PROBABILITIES if answers.kind == LABELS else answers.kind,
        records=records,
        top=None,
        ids=None if answers.ids is None else answers.ids[first],
        splits=None if answers.splits is None else answers.splits[first],
        notes=(*answers.notes, note),
    )


def _number_samples(answers: StoredAnswers) -> tuple[NDArray, NDArray]:
    """Number the samples; return the number of each answer's, and the first answer to each."""
    count = len(answers.records)
    ids = list(range(count)) if answers.ids is None else answers.ids.tolist()
    splits = [""] * count if answers.splits is None else answers.splits.tolist()
    numbers: dict[tuple[str, object], int] = {}
    first: list[int] = []
    samples: list[int] = []
    for row, key in enumerate(zip(splits, ids, strict=True)):
        number = numbers.setdefault(key, len(numbers))
        if number == len(first):
            first.append(row)
        samples.append(number)
    return np.array(samples), np.array(first)


def _votes(answers: StoredAnswers, samples: NDArray, count: int) -> Tensor:
    """Return the logs of the shares of votes, ``[count, C]``."""
    votes = np.zeros((count, answers.classes), np.float32)
    labels = answers.records[:, 0].long().numpy()
    np.add.at(votes, (samples, labels), 1)
    shares = votes / votes.sum(1, keepdims=True)
    return torch.from_numpy(np.log(np.maximum(shares, FLOOR)))


def _mean(logits: Tensor, counts: NDArray, combine: str) -> Tensor:
    """Return the mean of the logits of each sample, whose members follow each other."""
    if (counts == counts[0]).all():
        members = int(counts[0])
        return combine_outputs(logits.unflatten(0, (-1, members)).transpose(0, 1), combine)
    parts = logits.split(counts.tolist())
    return torch.stack([combine_outputs(part[:, None], combine)[0] for part in parts])
