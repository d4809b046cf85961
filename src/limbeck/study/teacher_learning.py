"""A word on a teacher that has learned too little, before students are trained with it."""

import math
import warnings

import numpy as np
import torch
from scipy import sparse, stats

from limbeck._base.errors import LimbeckWarning
from limbeck.data import Dataset, Split
from limbeck.report.formats import percent
from limbeck.study.arms import Teacher
from limbeck.teacher.examination import CHANCE_LEVEL, MIN_SAMPLES_OF_CHANCE
from limbeck.training.task import DistillationTask

MAX_TEXTS = 20_000
"""Largest number of texts of a split that naive Bayes sees."""
SMOOTHING = 0.1
"""Count that naive Bayes adds to each pair of a token and a class."""


def warn_if_untaught(task: DistillationTask, data: Dataset, plan: Teacher) -> None:
    """Warn if a trained classifier is no better on validation samples than a trivial one.

    That is the commonest class as the answer to all; for texts also naive Bayes on their tokens,
    which is fitted in less than a second.

    Args:
        task: Training of the teacher, which has finished.
        data: Dataset of the study.
        plan: Settings of the teacher.
    """
    if data.positions is not None or not data.kind.has_classes or data.val.labels.ndim != 1:
        return
    scalars = task.val_scalars(lambda values: values)
    accuracies = [value for name, value in scalars.items() if name.endswith("val_acc")]
    if not accuracies or len(data.val.labels) < MIN_SAMPLES_OF_CHANCE:
        return
    message = _message(max(accuracies), data, plan)
    if message is not None:
        warnings.warn(message, LimbeckWarning, stacklevel=2)


def _message(accuracy: float, data: Dataset, plan: Teacher) -> str | None:
    """Return the warning about a teacher; None if it has learned."""
    counts = torch.bincount(data.val.labels, minlength=data.classes)
    samples = len(data.val.labels)
    share = float(counts.max()) / samples
    test = stats.binomtest(round(accuracy * samples), samples, share, alternative="greater")
    if test.pvalue >= CHANCE_LEVEL:
        return (
            f"The teacher has not learned: it is right on {percent(accuracy, 1)} of the validation "
            f"samples, and {data.class_names[int(counts.argmax())]} as the answer to all would be "
            f"on {percent(share, 1)}. Change teacher.optimizer.lr (now {plan.optimizer.lr:g}; 2e-5 "
            f"to 5e-4 are usual for a pretrained encoder), or train it longer (teacher.epochs, now "
            f"{plan.epochs})."
        )
    if data.padding is None or data.tokenizer is None:
        return None
    simple = naive_bayes_accuracy(data)
    if accuracy >= simple:
        return None
    return (
        f"The teacher is worse than counting words: it is right on {percent(accuracy, 1)} of the "
        f"validation samples, and naive Bayes on the same tokens is on {percent(simple, 1)}. Train "
        f"it longer (teacher.epochs, now {plan.epochs}) or with another teacher.optimizer.lr (now "
        f"{plan.optimizer.lr:g}), or use teacher=tfidf."
    )


def naive_bayes_accuracy(data: Dataset) -> float:
    """Return the accuracy on validation texts of naive Bayes, fitted on training texts.

    Its features say which tokens a text has.

    Args:
        data: Dataset of texts.
    """
    from sklearn.naive_bayes import MultinomialNB

    model = MultinomialNB(alpha=SMOOTHING)
    model.fit(*_tokens_and_labels(data.train, data))
    return float(model.score(*_tokens_and_labels(data.val, data)))


def _tokens_and_labels(split: Split, data: Dataset) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return whether each text has each token, ``[N, V]``, and the labels ``[N]``."""
    assert data.tokenizer is not None
    step = math.ceil(len(split) / MAX_TEXTS)
    ids = torch.as_tensor(split.inputs[::step]).long()
    is_token = ids != data.padding
    rows = torch.arange(len(ids))[:, None].expand_as(ids)
    cells = rows[is_token].numpy(), ids[is_token].numpy()
    shape = (len(ids), data.tokenizer.padded_size)
    tokens = sparse.csr_matrix((np.ones(len(cells[0])), cells), shape=shape)
    tokens.data[:] = 1  # not the number of times
    return tokens, split.labels[::step].numpy()
