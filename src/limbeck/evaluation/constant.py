"""Results of a model that gives every sample the same answer, to recognise one that learned little.

The answer comes from the training labels: their most frequent class, or their mean.
"""

from torch import Tensor

from limbeck.data.statistics import target_statistics
from limbeck.evaluation.regression import squared_errors
from limbeck.losses.tasks import Task

NEAR = 0.95
"""Share of the result of a constant answer from which on a model has hardly learned."""


def constant_result(train: Tensor, test: Tensor, kind: Task) -> float | None:
    """Return the value of a study's measure for the best constant answer to training samples.

    Args:
        train: Training labels.
        test: Test labels.
        kind: Kind of target.

    Returns:
        Number of errors, of wrong labels, or the squared error; None for the tokens of a text, and
        for embeddings.
    """
    if kind.name == "next_token" or kind.outputs == "vectors":
        return None
    if kind.has_classes:
        return float((test != train.bincount().argmax()).sum())
    if kind.outputs == "labels":
        return float((test != (train.mean(0) > 0.5)).sum())
    mean, std = target_statistics(train)
    constant = test.new_tensor(mean).expand_as(test)
    return float(squared_errors(constant, test, std).mean())
