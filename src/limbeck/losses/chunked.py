"""Last linear layer and loss, computed one chunk of positions at a time.

Only the logits of one chunk are in memory.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_SIZES = {"cpu": 1 << 22}
"""Number of logits in a chunk by type of device: 16 MiB of float32 on a CPU, where malloc reuses
blocks below 32 MiB.
"""
DEFAULT_CHUNK_SIZE = 1 << 25
"""Number of logits in a chunk on other devices."""
BLOCK = 256
"""Smallest number of positions in a matrix product; products with fewer are slower.

One buffer holds the logits of these positions, and then their gradients.
"""

ChunkLoss = Callable[[Tensor, slice], Tensor]


def chunked_loss(
    hidden: Tensor,
    weight: Tensor,
    loss: ChunkLoss,
    *,
    bias: Tensor | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, ...]:
    """Sum a loss of the logits ``hidden @ weight.T + bias`` over positions with little memory.

    The gradient of a chunk is computed with its value, before the next chunk. Only the gradients of
    ``hidden``, ``weight`` and ``bias`` are stored, and the backward pass multiplies them by the
    incoming gradient. Under autocast the products are in its type, and the gradients of ``weight``
    and ``bias`` are summed in float32. Do not use float16 here: its gradients need scaling, and
    small ones would be lost.

    Args:
        hidden: Input of the last layer, ``[N, D]``.
        weight: Weight of the last layer, ``[V, D]``.
        loss: Function of logits ``[n, V]`` and the slice of the N positions that they belong to. It
            returns the sum of their losses, or ``[M]`` such sums, of which the first is
            differentiated. It has to select the labels and targets of those positions itself.
            Other tensors that it uses get no gradient.
        bias: Bias of the last layer, ``[V]``.
        chunk: Number of positions per call of ``loss``; None for a number that is fast on the
            device.

    Returns:
        The M sums over all positions, each a scalar. The first is differentiable once with respect
        to ``hidden``, ``weight`` and ``bias``.

    References:
        Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM Training", 2024, for the
        cross-entropy.
    """
    if chunk is None:
        chunk = max(1, CHUNK_SIZES.get(hidden.device.type, DEFAULT_CHUNK_SIZE) // len(weight))
    return _ChunkedLoss.apply(hidden, weight, bias, loss, chunk, torch.is_grad_enabled())


class _ChunkedLoss(torch.autograd.Function):
    """Values and gradients chunk by chunk in the forward pass; backward returns the gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        loss: ChunkLoss,
        chunk: int,
        differentiate: bool,
    ) -> tuple[Tensor, ...]:
        """Compute the sums, one tensor each."""
        inputs = (hidden, weight, bias)
        gradients: list[Tensor | None] = []
        for tensor, needs_grad in zip(inputs, ctx.needs_input_grad[:3], strict=True):
            if tensor is None or not (differentiate and needs_grad):
                gradients.append(None)
            else:
                gradients.append(_zeros(tensor))
        any_gradient = differentiate and any(ctx.needs_input_grad[:3])
        h, w, b = _as_autocast(*inputs)
        block_size = max(chunk, BLOCK)
        buffer = h.new_empty(min(block_size, len(h)), len(w))
        total = torch.zeros(1, device=h.device)
        for block in _slices(0, len(h), block_size):
            out = buffer[: block.stop - block.start]
            if b is None:
                logits = torch.mm(h[block], w.mT, out=out)
            else:
                logits = torch.addmm(b, h[block], w.mT, out=out)
            parts = _slices(block.start, block.stop, chunk)
            for part, part_logits in zip(parts, logits.split(chunk), strict=True):
                total = total + _loss_and_gradient(loss, part_logits, part, any_gradient)
            if any_gradient:
                _accumulate(gradients, logits, h, w, block)
        ctx.save_for_backward(*gradients)
        ctx.dtypes = [None if x is None else x.dtype for x in inputs]
        outputs = tuple(part.clone() for part in total)
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of ``hidden``, ``weight`` and ``bias``."""
        gradients: list[Tensor | None] = []
        for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True):
            gradients.append(None if gradient is None else (gradient * grad).to(dtype))
        return (*gradients, None, None, None)


def _loss_and_gradient(loss: ChunkLoss, logits: Tensor, part: slice, differentiate: bool) -> Tensor:
    """Compute the sums of a chunk, ``[M]``, and overwrite its logits with their gradient."""
    with torch.set_grad_enabled(differentiate):
        leaf = logits.detach().requires_grad_(differentiate)
        sums = torch.atleast_1d(loss(leaf, part))
        if sums.requires_grad:
            logits.copy_(torch.autograd.grad(sums[0], leaf)[0])
        elif differentiate:  # such as a chunk with ignored positions only
            logits.zero_()
    return sums.detach()


def _slices(start: int, stop: int, size: int) -> list[slice]:
    """Return slices of at most ``size`` from ``start`` to ``stop``, one empty slice if equal."""
    firsts = range(start, max(stop, start + 1), size)
    return [slice(first, min(first + size, stop)) for first in firsts]


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros_like(like, dtype=torch.promote_types(like.dtype, torch.float32))


def _as_autocast(
    hidden: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast the layer to the type in which autocast would compute it, once for all chunks."""
    device = hidden.device.type
    if not torch.is_autocast_enabled(device) or hidden.dtype == torch.float64:
        return hidden, weight, bias
    dtype = torch.get_autocast_dtype(device)
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def _accumulate(
    gradients: Sequence[Tensor | None], grad: Tensor, hidden: Tensor, weight: Tensor, block: slice
) -> None:
    """Add the contribution of a block to the gradients; ``grad`` is the gradient of its logits."""
    hidden_grad, weight_grad, bias_grad = gradients
    if hidden_grad is not None:
        hidden_grad[block] = grad @ weight
    if weight_grad is not None and weight_grad.dtype == grad.dtype:
        weight_grad.addmm_(grad.mT, hidden[block])
    elif weight_grad is not None:
        weight_grad += grad.mT @ hidden[block]
    if bias_grad is not None:
        bias_grad += grad.sum(0, dtype=bias_grad.dtype)
