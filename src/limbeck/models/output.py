"""Logits of a model's output."""

from collections.abc import Mapping

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError, LimbeckError
from limbeck.losses.base import TWO_LOGITS

OUTPUT_KEYS = ("logits", "out", "output", "outputs", "prediction", "predictions", "pred", "y_hat")
"""Keys under which an output that is a dictionary may have its logits."""


def logits_of(
    output: object, samples: int, role: str, error: type[LimbeckError] = ConfigError
) -> Tensor:
    """Return the logits of a model's output.

    Args:
        output: Logits; an output that has them as ``logits``, such as those of transformers; a
            dictionary with a key of :data:`OUTPUT_KEYS`; or a tuple, whose first tensor that is not
            a single number they are.
        samples: Number of samples in the batch, B.
        role: Role of the model for messages: ``student``, ``teacher`` or ``model``.
        error: Class of the error to raise.

    Returns:
        Logits ``[B, ...]``.

    Raises:
        LimbeckError: If the output has no logits, or not one row per sample.
    """
    logits = without_wrapper(output)
    if not isinstance(logits, Tensor):
        raise error(
            f"The {role} returned {_describe(output)}; expected logits as a tensor [B, C], or as "
            f"`logits` of a dictionary or output.{_hint(output)}"
        )
    if logits.layout != torch.strided or logits.is_quantized:
        kind = "quantized" if logits.is_quantized else str(logits.layout).removeprefix("torch.")
        raise error(
            f"The {role} returned a {kind} tensor; expected a dense one. Return "
            f"logits.{'dequantize' if logits.is_quantized else 'to_dense'}()."
        )
    if logits.ndim < 2 or len(logits) != samples:
        hint = f" {TWO_LOGITS}" if list(logits.shape) == [samples] else ""
        raise error(
            f"The {role} returned a tensor of shape {list(logits.shape)} for {samples} inputs; "
            f"expected logits [{samples}, C], one row per input.{hint}"
        )
    if logits.is_complex():
        raise error(f"The {role} returned complex numbers ({logits.dtype}); expected real logits.")
    return logits


def without_wrapper(output: object) -> object:
    """Return the logits of an output, see :func:`logits_of`; any other output as it is."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        for key in OUTPUT_KEYS:
            if isinstance(output.get(key), Tensor):
                return output[key]
        return output
    logits = getattr(output, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    if isinstance(output, (tuple, list)):
        for part in output:
            if isinstance(part, Tensor) and part.ndim > 1:  # a loss has no dimensions
                return part
    return output


def _describe(output: object) -> str:
    if output is None:
        return "None"
    if isinstance(output, Mapping):
        return f"a dictionary with the keys {', '.join(map(str, output))}"
    if isinstance(output, (tuple, list)):
        parts = ", ".join(type(part).__name__ for part in output)
        return f"a {type(output).__name__} ({parts})"
    return f"a value of type {type(output).__name__}"


def _hint(output: object) -> str:
    if output is None:
        return " Does its forward() end with a return statement?"
    return " Wrap the model in a module whose forward() returns the logits."
