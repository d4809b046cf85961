"""Stacked students layer by layer: batched matrix products instead of ``vmap``.

Most small students are chains of linear and element-wise layers, bags of embeddings, or GPTs. A few
batched products compute the same numbers. All arms of a seed share its batch, so the first linear
layer multiplies it by the weights of all arms at once.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from limbeck.models import GPT, MLP, BagOfEmbeddings, Normalized, Regressor, TableModel
from limbeck.models.mlp import BoundedLinear
from limbeck.models.table import TableEncoder
from limbeck.training.cohort.gpt import StackedGPT
from limbeck.training.cohort.randomness import SeedStreams

_ELEMENTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Identity)
_LINEAR = (nn.Linear, BoundedLinear)
_SUPPORTED = (*_LINEAR, *_ELEMENTWISE, nn.Dropout)

Layer = tuple[str, nn.Module]
"""Name (as in the names of its weights) and module of a layer."""


class StackedForward(Protocol):
    """The forward pass of all students of a cohort at once."""

    def reads(self, x: Tensor) -> bool:
        """Whether inputs ``[S, B, *shape]`` are supported."""

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        streams: SeedStreams,
    ) -> Tensor:
        """Logits ``[S, A, B, ...]``, of weights stacked ``[S, A, ...]`` by name, shared buffers,
        inputs and random numbers.
        """


def stacked_forward(model: nn.Module) -> StackedForward | None:
    """The stacked forward pass of copies of a model; None for models that need ``vmap``."""
    if StackedGPT.fits(model) and not _has_hooks(model):
        assert isinstance(model, GPT)
        return StackedGPT(model)
    layers = layers_of(model)
    return None if layers is None else Chain(layers)


def layers_of(model: nn.Module) -> list[Layer] | None:
    """The layers of a chain of linear, element-wise and dropout layers, after at most one flatten.

    Returns:
        The chain; None for a model of another form, or one with hooks, tied weights or
        unknown layers.
    """
    chain = _unroll("", model)
    if chain is None or _has_hooks(model) or _has_tied_weights(model):
        return None
    kinds = [type(module) for _, module in chain]
    linear = [i for i, kind in enumerate(kinds) if kind in _LINEAR]
    flattening = [i for i, kind in enumerate(kinds) if kind is nn.Flatten]
    if not linear or len(flattening) > 1 or any(i > linear[0] for i in flattening):
        return None
    return chain


def _has_hooks(model: nn.Module) -> bool:
    return any(_hooks(module) for module in model.modules())


def _hooks(module: nn.Module) -> int:
    """Number of hooks of a module, found by registering and removing another of each kind."""

    def do_nothing(*arguments: Any) -> None:
        pass

    probe = copy.copy(module)  # shares the hooks; registering changes flags of the copy alone
    handles = [
        probe.register_forward_hook(do_nothing),
        probe.register_forward_pre_hook(do_nothing),
        probe.register_full_backward_pre_hook(do_nothing),
    ]
    try:
        handles.append(probe.register_full_backward_hook(do_nothing))
    except RuntimeError:  # the module has a backward hook of the older kind
        return 1
    finally:
        hooks = sum(len(handle.hooks_dict_ref() or ()) - 1 for handle in handles)
        for handle in handles:
            handle.remove()
    return hooks


def _has_tied_weights(model: nn.Module) -> bool:
    names = list(model.named_parameters(remove_duplicate=False))
    return len(list(model.parameters())) < len(names)


def _unroll(name: str, module: nn.Module) -> list[Layer] | None:
    """The layers of a module in the order of their execution; None if it is unknown."""
    prefix = f"{name}." if name else ""
    kind = type(module)
    if isinstance(module, Normalized) and kind is Normalized:
        rest = _unroll(f"{prefix}net", module.net)
        if rest is None or module.mean.numel() > 1:
            return None
        return [(name, module), *rest]
    if isinstance(module, BagOfEmbeddings) and kind is BagOfEmbeddings:
        rest = _unroll(f"{prefix}layers", module.layers)
        return None if rest is None else [(name, module), *rest]
    if isinstance(module, TableModel) and kind is TableModel:
        rest = _unroll(f"{prefix}net", module.net)
        return None if rest is None else [(f"{prefix}encoder", module.encoder), *rest]
    if isinstance(module, Regressor) and kind is Regressor:
        rest = _unroll(f"{prefix}net", module.net)
        return None if rest is None else [*rest, (name, module)]
    if isinstance(module, MLP) and kind is MLP:
        return _unroll(f"{prefix}layers", module.layers)
    if kind is nn.Sequential:
        return _unroll_all(prefix, module)
    if isinstance(module, nn.Flatten) and kind is nn.Flatten:
        plain = (module.start_dim, module.end_dim) == (1, -1)
        return [(name, module)] if plain else None
    return [(name, module)] if kind in _SUPPORTED else None


def _unroll_all(prefix: str, module: nn.Module) -> list[Layer] | None:
    layers: list[Layer] = []
    for key, child in module.named_children():
        part = _unroll(f"{prefix}{key}", child)
        if part is None:
            return None
        layers += part
    return layers


@dataclass(frozen=True)
class Chain:
    """Stacked copies of a chain of layers.

    Attributes:
        layers: Layers of :func:`layers_of`.
    """

    layers: list[Layer]

    def reads(self, x: Tensor) -> bool:
        """Whether the layers see one row of features per sample, for inputs ``[S, B, *shape]``."""
        return x.ndim == 3 or any(isinstance(module, nn.Flatten) for _, module in self.layers)

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        streams: SeedStreams,
    ) -> Tensor:
        """Logits of S seeds by A arms.

        Args:
            weights: Weights stacked ``[S, A, ...]``, by name.
            buffers: Buffers that all share, by name.
            x: Inputs ``[S, B, *shape]``, one batch per seed.
            streams: Random numbers of each seed, for dropout.

        Returns:
            Logits ``[S, A, B, C]``.
        """
        seeds, arms = next(iter(weights.values())).shape[:2]
        # Features come before samples, so that weights are the left factors and their gradients
        # have the layout of the weights. x is [S, features, B] as long as the arms of a seed share
        # it, and [S * A, features, B] after the first linear layer.
        x = x.transpose(1, -1) if x.ndim == 3 else x
        shared = True
        for name, module in self.layers:
            prefix = f"{name}." if name else ""
            if isinstance(module, Normalized):
                mean, std = buffers[f"{prefix}mean"], buffers[f"{prefix}std"]
                x = (x - mean.view(())).div_(std.view(()))
            elif isinstance(module, BagOfEmbeddings):
                x = _mean_embeddings(weights[f"{prefix}tokens.weight"], x.mT, module)
                shared = False
            elif isinstance(module, TableEncoder):
                own = {key: buffers[f"{prefix}{key}"] for key, _ in module.named_buffers()}
                x = functional_call(module, own, (x.mT,)).mT
            elif isinstance(module, Regressor):
                mean, std = buffers[f"{prefix}mean"], buffers[f"{prefix}std"]
                x = torch.addcmul(mean[:, None], std[:, None], x)
            elif isinstance(module, nn.Flatten):
                x = x if x.ndim == 3 else x.flatten(2).mT
            elif isinstance(module, nn.Dropout):
                if module.training and module.p:
                    x = _drop(x, module.p, streams)
            elif isinstance(module, nn.Linear):
                weight, bias = weights[f"{prefix}weight"], weights.get(f"{prefix}bias")
                x = _linear(weight, bias, x, shared)
                x = x.view(seeds * arms, weight.shape[2], x.shape[-1])
                shared = False
            else:
                x = module(x)
        return x.view(seeds, arms, *x.shape[1:]).mT


def _mean_embeddings(tokens: Tensor, x: Tensor, bag: BagOfEmbeddings) -> Tensor:
    """Mean embedding of the tokens of each text, ``[S * A, D, B]``.

    Args:
        tokens: Tables of the tokens, ``[S, A, V, D]``.
        x: Token ids ``[S, B, l]``.
        bag: Bag with the ids that do not count.
    """
    padding = bag.padding
    seeds, arms, size = tokens.shape[:3]
    # One table for all students, in which the rows of each student start at an offset.
    offset = torch.arange(0, seeds * arms * size, size, device=x.device).view(seeds, arms, 1, 1)
    ids = bag.without_special(x).unsqueeze(1)
    ids = torch.where(ids == padding, padding, ids + offset).flatten(0, 2)
    means = F.embedding_bag(ids, tokens.flatten(0, 2), mode="mean", padding_idx=padding)
    return means.view(seeds * arms, x.shape[1], -1).mT


def _drop(x: Tensor, p: float, streams: SeedStreams) -> Tensor:
    """Dropout of features ``[K, features, B]``, or of inputs ``[K, B, *shape]`` before a flatten.

    The mask is drawn with samples first, as for a student alone.
    """
    if x.ndim == 3:
        factors = streams.dropout_factors((x.shape[2], x.shape[1]), p, x).mT
    else:
        factors = streams.dropout_factors(x.shape[1:], p, x)
    return (x.unflatten(0, (streams.seeds, -1)) * factors.unsqueeze(1)).flatten(0, 1)


def _linear(weight: Tensor, bias: Tensor | None, x: Tensor, shared: bool) -> Tensor:
    """A linear layer of all students: the arms of a seed in one product where they share inputs."""
    first = 1 if shared else 0  # first of the dimensions [S, A, ...] to flatten
    weight = weight.flatten(first, first + 1)
    bias = None if bias is None else bias.flatten(first, first + 1)
    return _product(weight, bias, x)


def _product(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """``[K, out, B]`` of ``weight [K, out, in]``, ``bias [K, out]`` and ``x [K, in, B]``."""
    if bias is None:
        return torch.bmm(weight, x)
    if len(weight) == 1:
        # Squeezed, because the gradient of indexing has the size of the whole tensor.
        return torch.addmm(bias.mT, weight.squeeze(0), x.squeeze(0)).unsqueeze(0)
    return torch.baddbmm(bias.unsqueeze(2), weight, x)
