"""The machine's own limit: a student's matrix products alone, and the rate at which this machine
multiplies.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from common import clock


class Products:
    """The matrix products of a multilayer perceptron over an epoch, on tensors allocated
    beforehand.

    Args:
        widths: of its layers, input first.
        batch: samples a step.
        samples: of an epoch; its last step is cut as a loader's is.
        device: where.
        dtype: of the factors.
    """

    def __init__(
        self,
        widths: Sequence[int],
        batch: int,
        samples: int,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.batch, self.steps = batch, samples // batch
        self.pairs = list(itertools.pairwise(widths))
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.x = [torch.rand(batch, wide, **options) for wide, _ in self.pairs]
        self.w = [torch.rand(narrow, wide, **options) for wide, narrow in self.pairs]
        self.y = [torch.empty(batch, narrow, **options) for _, narrow in self.pairs]
        self.dy = [torch.rand(batch, narrow, **options) for _, narrow in self.pairs]
        self.dx, self.dw = (
            [torch.empty_like(x) for x in self.x],
            [torch.empty_like(w) for w in self.w],
        )
        rest = samples % batch
        self.rest = (
            Products(widths, rest, rest, device=device, dtype=dtype)
            if rest and self.steps
            else None
        )

    def answer(self) -> None:
        """A forward pass: x @ W of each layer."""
        for x, w, y in zip(self.x, self.w, self.y, strict=True):
            torch.mm(x, w.t(), out=y)

    def step(self) -> None:
        """A forward and a backward pass: dW of each layer, dx of each but the first."""
        self.answer()
        for layer in reversed(range(len(self.pairs))):
            torch.mm(self.dy[layer].t(), self.x[layer], out=self.dw[layer])
            if layer:
                torch.mm(self.dy[layer], self.w[layer], out=self.dx[layer])

    def epoch(self) -> None:
        """Every step of an epoch."""
        for _ in range(self.steps):
            self.step()
        if self.rest is not None:
            self.rest.step()

    def answers(self) -> None:
        """Forward passes over all samples."""
        for _ in range(self.steps):
            self.answer()
        if self.rest is not None:
            self.rest.answer()

    @property
    def answer_flops(self) -> int:
        """Multiplications and additions of a forward pass."""
        return 2 * self.batch * sum(wide * narrow for wide, narrow in self.pairs)

    @property
    def step_flops(self) -> int:
        """Those of a step."""
        return 3 * self.answer_flops - 2 * self.batch * self.pairs[0][0] * self.pairs[0][1]


def rate(call: Callable[[], object], flops: int, *, seconds: float = 1.0) -> float:
    """The best sustained rate of some products in GF/s: the best of five blocks of a fifth of the
    time each.
    """
    call()
    best = 0.0
    for _ in range(5):
        began, done = clock(), 0
        while clock() - began < seconds / 5:
            call()
            done += 1
        best = max(best, done * flops / (clock() - began) / 1e9)
    return best


def matrix_rate(
    *, device: str = "cpu", dtype: torch.dtype = torch.float32, size: int = 2048
) -> float:
    """The rate of one large square product in GF/s."""
    a, b, c = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(3))
    return rate(lambda: torch.mm(a, b, out=c), 2 * size**3, seconds=5.0 if size > 1000 else 0.1)
