"""The last linear layer and the loss, a chunk of positions at a time, so that all logits are never
held at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

VALUES = {"cpu": 1 << 22}
"""Logits of a chunk by type of device: 16 MiB in float32 on a CPU, where malloc keeps blocks below
32 MiB for reuse.
"""
OTHERWISE = 1 << 25
BLOCK = 256
"""Positions of a matrix product, which is slower with fewer; their logits are held, and then their
gradients.
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
    """The sum over positions of a loss of the logits ``hidden @ weight.T + bias``, which are never
    all held at once.

    The gradient of a chunk is computed with its value, before the next chunk; only the gradients of
    ``hidden``, ``weight`` and ``bias`` are kept, and the backward pass multiplies them by the
    incoming gradient. Under autocast the products are in its type, and the gradients of ``weight``
    and ``bias`` are summed in float32; float16, whose gradients need scaling, would lose small ones
    here.

    Args:
        hidden: what the last layer sees, ``[N, D]``.
        weight: the last layer's, ``[V, D]``.
        loss: takes logits ``[n, V]`` and which of the N positions they are of, and returns the sum
            of their losses, or ``[M]`` such sums, of which the first is differentiated and the
            others are told. No gradient reaches anything else that it uses; labels and a teacher's
            targets are taken, or made, for those positions in it.
        bias: the last layer's, ``[V]``.
        chunk: positions that the loss sees at once; None for about as many as were measured to be
            fastest.

    Returns:
        The M sums over all positions, each without dimensions. The first can be differentiated
        once, in ``hidden``, ``weight`` and ``bias``.

    References:
        Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM Training", 2024, for the
        cross-entropy.
    """
    if chunk is None:
        chunk = max(1, VALUES.get(hidden.device.type, OTHERWISE) // len(weight))
    return _ChunkedLoss.apply(hidden, weight, bias, loss, chunk, torch.is_grad_enabled())


class _ChunkedLoss(torch.autograd.Function):
    """Values and gradients chunk by chunk in the forward pass; the backward pass hands the
    gradients out.
    """

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
        """The sums, one tensor each."""
        inputs = (hidden, weight, bias)
        wanted = ctx.needs_input_grad[:3] if differentiate else (False, False, False)
        gradients = [
            _zeros(x) if x is not None and w else None for x, w in zip(inputs, wanted, strict=True)
        ]
        h, w, b = _as_autocast(*inputs)
        held = h.new_empty(min(max(chunk, BLOCK), len(h)), len(w))
        total = torch.zeros(1, device=h.device)
        for block in _slices(0, len(h), max(chunk, BLOCK)):
            own = held[: block.stop - block.start]
            logits = (
                torch.mm(h[block], w.mT, out=own)
                if b is None
                else torch.addmm(b, h[block], w.mT, out=own)
            )
            for part, some in zip(
                _slices(block.start, block.stop, chunk), logits.split(chunk), strict=True
            ):
                total = total + _differentiated(loss, some, part, any(wanted))
            if any(wanted):
                _add(gradients, logits, h, w, block)
        ctx.save_for_backward(*gradients)
        ctx.dtypes = [None if x is None else x.dtype for x in inputs]
        outputs = tuple(part.clone() for part in total)
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients in ``hidden``, ``weight`` and ``bias``."""
        found = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return (
            *(None if kept is None else (kept * grad).to(dtype) for kept, dtype in found),
            None,
            None,
            None,
        )


def _differentiated(loss: ChunkLoss, logits: Tensor, part: slice, wanted: bool) -> Tensor:
    """The sums of one chunk, ``[M]``; its logits become the gradient of the first."""
    with torch.set_grad_enabled(wanted):
        own = logits.detach().requires_grad_(wanted)
        sums = torch.atleast_1d(loss(own, part))
        if sums.requires_grad:
            logits.copy_(torch.autograd.grad(sums[0], own)[0])
        elif wanted:  # a chunk of ignored positions alone, say
            logits.zero_()
    return sums.detach()


def _slices(start: int, stop: int, size: int) -> list[slice]:
    """Slices of at most ``size`` from ``start`` to ``stop``; an empty one if these are equal."""
    return [
        slice(first, min(first + size, stop)) for first in range(start, max(stop, start + 1), size)
    ]


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros_like(like, dtype=torch.promote_types(like.dtype, torch.float32))


def _as_autocast(
    hidden: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The layer in the type in which autocast would compute it: cast once, not once a chunk."""
    device = hidden.device.type
    if not torch.is_autocast_enabled(device) or hidden.dtype == torch.float64:
        return hidden, weight, bias
    dtype = torch.get_autocast_dtype(device)
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def _add(
    gradients: Sequence[Tensor | None], grad: Tensor, hidden: Tensor, weight: Tensor, part: slice
) -> None:
    """Add what a block's logits of gradient ``grad`` give to those of the layer."""
    of_hidden, of_weight, of_bias = gradients
    if of_hidden is not None:
        of_hidden[part] = grad @ weight
    if of_weight is not None and of_weight.dtype == grad.dtype:
        of_weight.addmm_(grad.mT, hidden[part])
    elif of_weight is not None:
        of_weight += grad.mT @ hidden[part]
    if of_bias is not None:
        of_bias += grad.sum(0, dtype=of_bias.dtype)
