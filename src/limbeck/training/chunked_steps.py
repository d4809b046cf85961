"""Training steps of language models with large vocabularies, without all logits in memory."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.data.batches import Batch
from limbeck.data.labels import are_tokens
from limbeck.losses import UNLABELLED, StackedObjective, Terms
from limbeck.losses.chunked import chunked_loss
from limbeck.losses.sparse import SparseTargets
from limbeck.models import HasLastLayer, LastLayer
from limbeck.teacher.signal import LiveTeacher, TeacherSignal

MIN_CHUNKED_LOGITS = 1 << 26
"""Minimum number of logits in a batch for computation in chunks: 256 MiB in float32, and a step
needs several such tensors.
"""

Targets = Tensor | SparseTargets


def last_layer(model: nn.Module | None) -> LastLayer | None:
    """Last layer of a language model; None for models that do not expose it."""
    return model.last_layer() if isinstance(model, HasLastLayer) else None


def should_chunk(student: nn.Module | None, objective: StackedObjective, y: Tensor) -> bool:
    """Whether the loss of a batch with labels ``[S, B, T]`` should be computed in chunks."""
    if not are_tokens(y):  # checked first, as it takes no time and the protocol's check takes some
        return False
    output = last_layer(student)
    if output is None or y.numel() * len(output[0]) < MIN_CHUNKED_LOGITS:
        return False
    device = y.device.type
    if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16:
        return False  # a chunk's gradient is computed before the loss is scaled, and would vanish
    return not objective.mixes_samples


def chunked_terms(
    student: nn.Module | None,
    objective: StackedObjective,
    batch: Batch,
    signal: TeacherSignal | None,
    counts: tuple[Tensor | float, Tensor | float],
    check: Callable[[Targets, Batch, int], None],
) -> Terms:
    """Compute the loss terms of one student, each ``[1, 1]``.

    Args:
        student: Student of a cohort of one, for which :func:`should_chunk` is true.
        objective: Objective of one arm.
        batch: Batch for one seed.
        signal: Teacher, if the objective needs one.
        counts: Numbers of predictions by which the losses are divided.
        check: Function that checks the teacher's answers to a batch, from a position on.
    """
    y = batch.y.flatten()
    targets = None if signal is None else _targets(signal, batch)

    def loss(logits: Tensor, part: slice) -> Tensor:
        labels = y[part][None]
        teacher = None
        if targets is not None:
            teacher = targets(part)
            check(teacher, batch, part.start)
        terms = objective(
            logits[None, None], teacher, labels, ignored=labels == UNLABELLED, counts=counts
        )
        return torch.stack([term.sum() for term in terms])

    output = last_layer(student)
    assert isinstance(student, HasLastLayer)
    assert output is not None
    hidden = student.hidden(batch.x[0]).flatten(0, 1)
    terms = chunked_loss(hidden, output[0], loss, bias=output[1])
    return Terms(*(term.view(1, 1) for term in terms))


def _targets(signal: TeacherSignal, batch: Batch) -> Callable[[slice], Targets]:
    """Return a function from a slice of predictions to the teacher's answers ``[1, n, ...]``."""
    model = None
    if isinstance(signal, LiveTeacher) and len(signal.models) == 1:
        model = signal.models[0]
    layer = last_layer(model)
    if isinstance(signal, LiveTeacher) and isinstance(model, HasLastLayer) and layer is not None:
        signal.prepare(batch.x.device)
        with torch.no_grad():
            hidden = model.hidden(batch.x[0]).flatten(0, 1)
        weight, bias = last_layer(model) or layer  # on the device, and whole if it is sharded
        return lambda part: F.linear(hidden[part], weight, bias).detach()[None]
    sample = None if batch.sample is None else batch.sample[0]
    view = None if batch.view is None else batch.view[0]
    answers = signal(batch.x[0], sample, view)
    if isinstance(answers, Tensor):
        logits = answers.flatten(0, 1)
        return lambda part: logits[part][None]
    flat = answers.map(lambda values: values.flatten(0, 1))
    return lambda part: flat.map(lambda values: values[part][None])
