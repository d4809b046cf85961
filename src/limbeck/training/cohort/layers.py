"""Stacked students layer by layer: batched matrix products where ``vmap`` would go through every
operation.

Most small students are chains of linear and element-wise layers, or GPTs. For these the same
numbers come from a few batched products, and what all arms of a seed share (its batch) is
multiplied with the weights of all of them at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.models import GPT, MLP, Normalized
from limbeck.models.mlp import BoundedLinear
from limbeck.training.cohort.gpt import StackedGPT

_ELEMENTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Identity)

Layer = tuple[str, nn.Module]
"""A layer and its name, as in the names of its weights."""


class StackedForward(Protocol):
    """How students of one form answer all at once."""

    def reads(self, x: Tensor) -> bool:
        """Whether it serves inputs ``[S, B, *shape]``."""

    def __call__(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor
    ) -> Tensor:
        """Logits ``[S, A, B, ...]`` of weights stacked ``[S, A, ...]`` by name, shared buffers and
        inputs.
        """


def stacked_forward(model: nn.Module) -> StackedForward | None:
    """The layer-by-layer forward of stacked copies of a model; None for a model that is left to
    ``vmap``.
    """
    if StackedGPT.fits(model) and not _hooked(model):
        assert isinstance(model, GPT)
        return StackedGPT(model)
    layers = layers_of(model)
    return None if layers is None else Chain(layers)


def layers_of(model: nn.Module) -> list[Layer] | None:
    """The layers of a model that is a chain of linear, element-wise and dropout layers behind one
    flattening.

    Returns:
        The chain; None for a model of another form, or one with hooks, tied weights or an
        ``nn.Module`` of its own.
    """
    chain = _unrolled("", model)
    if chain is None:
        return None
    kinds = [type(module) for _, module in chain]
    linear = [i for i, kind in enumerate(kinds) if kind in (nn.Linear, BoundedLinear)]
    before = kinds[: linear[0]] if linear else []
    flattens = [i for i, kind in enumerate(kinds) if kind is nn.Flatten]
    tied = len(list(model.parameters())) < len(list(model.named_parameters(remove_duplicate=False)))
    if (
        not linear
        or _hooked(model)
        or tied
        or len(flattens) > 1
        or any(i > len(before) for i in flattens)
    ):
        return None
    return chain


def _hooked(model: nn.Module) -> bool:
    return any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules()
    )


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
        return (
            None
            if any(part is None for part in parts)
            else [layer for part in parts for layer in part or ()]
        )
    if kind is nn.Flatten:
        return [(name, module)] if (module.start_dim, module.end_dim) == (1, -1) else None
    known = kind in (nn.Linear, BoundedLinear, nn.Dropout) or kind in _ELEMENTWISE
    return [(name, module)] if known else None


@dataclass(frozen=True)
class Chain:
    """Stacked copies of a chain of layers.

    Attributes:
        layers: of :func:`layers_of`.
    """

    layers: list[Layer]

    def reads(self, x: Tensor) -> bool:
        """Whether the layers see one row of features a sample, in inputs ``[S, B, *shape]``."""
        return x.ndim == 3 or any(isinstance(module, nn.Flatten) for _, module in self.layers)

    def __call__(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor
    ) -> Tensor:
        """Logits of S seeds by A arms.

        Args:
            weights: stacked ``[S, A, ...]``, by name.
            buffers: shared by all, by name.
            x: one batch a seed, ``[S, B, *shape]``.

        Returns:
            ``[S, A, B, C]``.
        """
        seeds, arms = next(iter(weights.values())).shape[:2]
        # Features before samples: products then begin with the weights, whose gradients come out as
        # the weights lie. x is [S, features, B] as long as the arms of a seed share it, and [S * A,
        # features, B] behind the first linear layer.
        x = x.transpose(1, -1) if x.ndim == 3 else x
        shared = True
        for name, module in self.layers:
            prefix = f"{name}." if name else ""
            if isinstance(module, Normalized):
                x = (x - buffers[f"{prefix}mean"].view(())).div_(buffers[f"{prefix}std"].view(()))
            elif isinstance(module, nn.Flatten):
                x = x if x.ndim == 3 else x.flatten(2).mT
            elif isinstance(module, nn.Dropout):
                if module.training and module.p:
                    if shared:  # each arm leaves out its own inputs
                        x, shared = (
                            x.unsqueeze(1).expand(seeds, arms, *x.shape[1:]).flatten(0, 1),
                            False,
                        )
                    x = F.dropout(x, module.p)
            elif isinstance(module, nn.Linear):
                joined = (
                    1 if shared else 0
                )  # of [S, A, out, in]: the arms of a seed in one product, or all apart
                weight, bias = weights[f"{prefix}weight"], weights.get(f"{prefix}bias")
                bias = None if bias is None else bias.flatten(joined, joined + 1)
                x = _product(weight.flatten(joined, joined + 1), bias, x)
                x, shared = x.view(seeds * arms, weight.shape[2], x.shape[-1]), False
            else:
                x = module(x)
        return x.view(seeds, arms, *x.shape[1:]).mT


def _product(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """``[K, out, B]`` of ``weight [K, out, in]``, ``bias [K, out]`` and ``x [K, in, B]``."""
    if bias is None:
        return torch.bmm(weight, x)
    if len(weight) == 1:  # squeezed, since the gradient of an index is as large as what was indexed
        return torch.addmm(bias.mT, weight.squeeze(0), x.squeeze(0)).unsqueeze(0)
    return torch.baddbmm(bias.unsqueeze(2), weight, x)
