"""Inputs of a model: one tensor, or several arguments by position or name."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn


class Inputs(NamedTuple):
    """Several inputs of a model, each ``[B, ...]``.

    Attributes:
        by_position: Arguments by position.
        by_name: Arguments by name.
    """

    by_position: tuple[Tensor, ...]
    by_name: dict[str, Tensor]


ModelInputs: TypeAlias = Tensor | Inputs
"""Inputs of a model for one batch."""


class Parameters(NamedTuple):
    """Arguments that the ``forward`` of a model takes.

    Attributes:
        names: Names of the arguments, in their order.
        positions: Number of arguments by position; infinite with ``*args``.
        takes_any_name: Whether it has ``**kwargs``.
    """

    names: tuple[str, ...]
    positions: float
    takes_any_name: bool


def parameters_of(model: nn.Module | None) -> Parameters:
    """Return the arguments of a model's ``forward``; for an unknown model a single one."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module
    if model is None:
        return Parameters((), 1, False)
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # of compiled code
        return Parameters((), float("inf"), True)
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_all = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return Parameters(
        names=tuple(by_name),
        positions=float("inf") if takes_all else len(by_position),
        takes_any_name=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def call(model: Callable[..., Any], inputs: ModelInputs) -> Any:
    """Call a model with one or several inputs."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(*inputs.by_position, **inputs.by_name)


def map_inputs(inputs: ModelInputs, function: Callable[[Tensor], Tensor]) -> ModelInputs:
    """Apply a function to each tensor."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    return Inputs(
        tuple(map(function, inputs.by_position)),
        {name: function(value) for name, value in inputs.by_name.items()},
    )


def tensors_of(inputs: ModelInputs) -> list[Tensor]:
    """Return all tensors, the first of which stands for the inputs in messages."""
    if isinstance(inputs, Tensor):
        return [inputs]
    return [*inputs.by_position, *inputs.by_name.values()]


def float_type(model: nn.Module) -> torch.dtype | None:
    """Return the type of a model's floating-point weights; None without any."""
    for weight in model.parameters():
        if weight.is_floating_point():
            return weight.dtype
    return None


def match_double(x: Tensor, model: nn.Module) -> Tensor:
    """Convert float64 inputs, NumPy's default, to float32 unless the model has float64 weights."""
    if x.dtype != torch.float64:
        return x
    dtypes = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    return x if torch.float64 in dtypes or not dtypes else x.float()


def fit_to_model(inputs: ModelInputs, model: nn.Module) -> ModelInputs:
    """Copy the inputs of a model that is not trained, with floats in the type of its weights.

    They are copies, because a model may change its inputs in place.
    """
    return map_inputs(inputs, lambda values: match_floats(values.clone(), model))


def match_floats(x: Tensor, model: nn.Module) -> Tensor:
    """Convert floats to the type of a model's weights; other inputs stay the same."""
    dtype = float_type(model)
    return x.to(dtype) if dtype is not None and x.is_floating_point() else x
