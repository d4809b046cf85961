"""Stacked students layer by layer: batched matrix products where ``vmap`` would go through every operation.

Most small students are chains of linear and element-wise layers. For these the same numbers come from a few batched
products, and what all arms of a seed share (its batch) is multiplied with the weights of all of them at once.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.models import MLP, Normalized
from limbeck.models.mlp import BoundedLinear

_ELEMENTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Identity)

Layer = tuple[str, nn.Module]
"""A layer and its name, as in the names of its weights."""


def layers_of(model: nn.Module) -> list[Layer] | None:
    """The layers of a model that is a chain of linear, element-wise and dropout layers behind one flattening.

    Returns:
        The chain; None for a model of another form, or one with hooks, tied weights or an ``nn.Module`` of its own.
    """
    chain = _unrolled("", model)
    if chain is None:
        return None
    kinds = [type(module) for _, module in chain]
    linear = [i for i, kind in enumerate(kinds) if kind in (nn.Linear, BoundedLinear)]
    before = kinds[: linear[0]] if linear else []
    flattens = [i for i, kind in enumerate(kinds) if kind is nn.Flatten]
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    tied = len(list(model.parameters())) < len(list(model.named_parameters(remove_duplicate=False)))
    if not linear or hooked or tied or len(flattens) > 1 or any(i > len(before) for i in flattens):
        return None
    return chain


def _unrolled(name: str, module: nn.Module) -> list[Layer] | None:
    """The module's parts in the order in which they are applied; None where that cannot be known."""
    prefix = f"{name}." if name else ""
    kind = type(module)
    if kind is Normalized:
        rest = _unrolled(f"{prefix}net", module.net)  # type: ignore[arg-type]
        return None if rest is None or module.mean.numel() > 1 else [(name, module), *rest]  # type: ignore[operator]
    if kind is MLP:
        return _unrolled(f"{prefix}layers", module.layers)  # type: ignore[arg-type]
    if kind is nn.Sequential:
        parts = [_unrolled(f"{prefix}{key}", child) for key, child in module.named_children()]
        return None if any(part is None for part in parts) else [layer for part in parts for layer in part or ()]
    if kind is nn.Flatten:
        return [(name, module)] if (module.start_dim, module.end_dim) == (1, -1) else None
    known = kind in (nn.Linear, BoundedLinear, nn.Dropout) or kind in _ELEMENTWISE
    return [(name, module)] if known else None


def forward_stacked(
    layers: list[Layer], weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor
) -> Tensor:
    """Logits of S seeds by A arms.

    Args:
        layers: of :func:`layers_of`.
        weights: stacked ``[S, A, ...]``, by name.
        buffers: shared by all, by name.
        x: one batch a seed, ``[S, B, *shape]``.

    Returns:
        ``[S, A, B, C]``.
    """
    seeds, arms = next(iter(weights.values())).shape[:2]
    # x is [S, B, features] shared by the arms of a seed; behind the first linear layer [S, B, A * features], wide; and
    # from the second one on [S * A, B, features], each student apart.
    form = "shared"
    for name, module in layers:
        prefix = f"{name}." if name else ""
        if isinstance(module, Normalized):
            x = (x - buffers[f"{prefix}mean"].view(())).div_(buffers[f"{prefix}std"].view(()))
        elif isinstance(module, nn.Flatten):
            x = x.flatten(2)
        elif isinstance(module, nn.Dropout):
            if module.training and module.p:
                if form == "shared":  # each arm leaves out its own inputs
                    x, form = x.unsqueeze(1).expand(seeds, arms, *x.shape[1:]).flatten(0, 1), "apart"
                x = F.dropout(x, module.p)
        elif isinstance(module, nn.Linear):
            x = _apart(x, arms) if form == "wide" else x
            joined = 1 if form == "shared" else 0  # of [S, A, out, in]: the arms of a seed, or all students
            weight, bias = weights[f"{prefix}weight"], weights.get(f"{prefix}bias")
            bias = None if bias is None else bias.flatten(joined, joined + 1)
            x = _product(x, weight.flatten(joined, joined + 1), bias)
            form = "wide" if form == "shared" else "apart"
        else:
            x = module(x)
    x = _apart(x, arms) if form == "wide" else x
    return x.view(seeds, arms, *x.shape[1:])


def _apart(x: Tensor, arms: int) -> Tensor:
    """``[S * A, B, features]`` of ``[S, B, A * features]``."""
    return x.unflatten(-1, (arms, x.shape[-1] // arms)).transpose(1, 2).flatten(0, 1)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[K, B, out]`` of ``x [K, B, in]``, ``weight [K, out, in]`` and ``bias [K, out]``."""
    if len(weight) == 1:
        return F.linear(x[0], weight[0], None if bias is None else bias[0])[None]
    if bias is None:
        return torch.bmm(x, weight.mT)
    return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
