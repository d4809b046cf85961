"""Predict with one model on batches, and score it."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.evaluation.metrics import classification_metrics
from limbeck.losses.base import UNLABELLED


@torch.no_grad()  # not inference_mode: a model may later be trained on tensors that a loader caches
def predict(model: nn.Module, inputs: Iterable[Tensor]) -> Tensor:
    """Compute the logits of a model in eval mode.

    Args:
        model: Model on any device. The training mode of each submodule is restored.
        inputs: Batches of inputs.

    Returns:
        Logits ``[N, C]`` in float32 on the CPU.

    Raises:
        ValueError: If there is no batch.
    """
    was_training = [(module, module.training) for module in model.modules()]
    first = next(model.parameters(), None)
    model.eval()
    try:
        logits = []
        for x in inputs:
            on_device = x if first is None else x.to(first.device)
            logits.append(model(on_device).float().cpu())
    finally:
        for module, mode in was_training:
            module.training = mode
    if not logits:
        raise ValueError("The loader has no batch.")
    return torch.cat(logits)


def evaluate(model: nn.Module, loader: Iterable[Any]) -> dict[str, Any]:
    """Score a model on an iterable of ``(x, y)`` batches.

    Args:
        model: Model with logits ``[B, C]``, or ``[B, T, C]`` for text, on any device. The training
            mode of each submodule is restored.
        loader: Batches of inputs and int64 labels ``[B]``, or ``[B, T]`` for text, with -100 at
            ignored positions.

    Returns:
        ``total``, ``correct``, ``errors`` (counts), ``accuracy``, ``nll`` (nats) and ``ece``.

    Raises:
        ValueError: If the loader has no batch.
    """
    labels: list[Tensor] = []

    def inputs() -> Iterator[Tensor]:
        for x, y in loader:
            labels.append(torch.as_tensor(y).cpu())
            yield torch.as_tensor(x)

    logits = predict(model, inputs())
    y = torch.cat(labels)
    if y.ndim == 2:
        logits, y = logits[y != UNLABELLED], y[y != UNLABELLED]
    metrics = classification_metrics(logits, y)
    return {
        "total": len(y),
        "correct": len(y) - int(metrics.errors or 0),
        "errors": metrics.errors,
        "accuracy": metrics.accuracy,
        "nll": metrics.nll,
        "ece": metrics.ece,
    }
