"""Predict with one model on batches, and score it."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, DataError
from limbeck.data.checks import check_finite
from limbeck.data.loaders import check_labels, dtype_fault, match_double, name_in_batch, read_pair
from limbeck.evaluation.metrics import classification_metrics
from limbeck.losses.base import UNLABELLED, check_several_classes
from limbeck.models.output import logits_of


@torch.no_grad()  # not inference_mode: a model may later be trained on tensors that a loader caches
def predict(model: nn.Module, inputs: Iterable[Tensor]) -> Tensor:
    """Compute the logits of a model in eval mode.

    Args:
        model: Model on any device. The training mode of each submodule is restored.
        inputs: Batches of inputs.

    Returns:
        Logits ``[N, C]`` in float32 on the CPU.

    Raises:
        ConfigError: If there is no batch, or the model returns no logits.
        DataError: If an input is infinite or NaN, or if the model refuses integers.
    """
    was_training = [(module, module.training) for module in model.modules()]
    first = next(model.parameters(), None)
    model.eval()
    try:
        logits: list[Tensor] = []
        for number, x in enumerate(inputs):
            on_device = match_double(x if first is None else x.to(first.device), model)
            own = on_device.clone()  # a model may change its inputs in place
            output = logits_of(_outputs(model, own), len(x), "model").float().cpu()
            if not bool(output.isfinite().all()):
                check_finite(x, partial(name_in_batch, number))
            if logits and output.shape[1:] != logits[0].shape[1:]:
                raise ConfigError(
                    f"The model returned logits of shape {list(output.shape)} for batch {number} "
                    f"but {list(logits[0].shape)} for the first; expected the same number of "
                    "logits for every input."
                )
            logits.append(output)
    finally:
        for module, mode in was_training:
            module.training = mode
    if not logits:
        raise ConfigError("The loader returned no batch.")
    return torch.cat(logits)


def _outputs(model: nn.Module, x: Tensor) -> Any:
    try:
        return model(x)
    except RuntimeError as error:
        fault = dtype_fault(x, error)
        if fault is not None:
            raise fault from None
        raise


def evaluate(model: nn.Module, loader: Iterable[Any]) -> dict[str, Any]:
    """Score a model on an iterable of ``(x, y)`` batches.

    Args:
        model: Model with logits ``[B, C]``, or ``[B, T, C]`` for text, on any device. The training
            mode of each submodule is restored.
        loader: Batches ``(x, y)`` of inputs and integer labels ``[B]``, or ``[B, T]`` for text;
            -100 for samples or positions to ignore.

    Returns:
        ``total``, ``correct``, ``errors`` (counts), ``accuracy``, ``nll`` (nats) and ``ece``.

    Raises:
        ConfigError: If the loader has no batch, or the model a single logit.
        DataError: If a batch has another form, if a label is out of range, if no sample is
            labelled, or if an input is infinite or NaN.
    """
    labels: list[Tensor] = []

    def inputs() -> Iterator[Tensor]:
        for batch in loader:
            x, y = read_pair(batch)
            labels.append(y.cpu())
            yield x

    logits = predict(model, inputs())
    check_several_classes(logits.shape[-1], "model")
    y = torch.cat(labels)
    if y.shape != logits.shape[:-1]:
        raise DataError(
            f"The loader has labels of shape {list(y.shape)} for logits of shape "
            f"{list(logits.shape)}; expected {list(logits.shape[:-1])}, an integer for each row "
            "of logits."
        )
    check_labels(y, logits.shape[-1], "Sample {} of the loader".format)
    logits, y = logits[y != UNLABELLED], y[y != UNLABELLED]
    if not len(y):
        raise DataError(
            f"All labels of the loader are {UNLABELLED}; expected some to compare with."
        )
    metrics = classification_metrics(logits, y)
    return {
        "total": len(y),
        "correct": len(y) - int(metrics.errors or 0),
        "errors": metrics.errors,
        "accuracy": metrics.accuracy,
        "nll": metrics.nll,
        "ece": metrics.ece,
    }
