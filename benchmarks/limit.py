"""The limit of the machine: time of a student's matrix products, and speed of multiplication."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from common import clock


class Products:
    """The matrix products of a multilayer perceptron over an epoch, on preallocated tensors.

    Args:
        widths: Widths of the layers, input first.
        batch: Number of samples in a step.
        samples: Number of samples in an epoch. The last step takes what is left.
        device: Device of the tensors.
        dtype: Type of the factors.
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
        self.x = [torch.rand(batch, inputs, **options) for inputs, _ in self.pairs]
        self.w = [torch.rand(outputs, inputs, **options) for inputs, outputs in self.pairs]
        self.y = [torch.empty(batch, outputs, **options) for _, outputs in self.pairs]
        self.dy = [torch.rand(batch, outputs, **options) for _, outputs in self.pairs]
        self.dx = [torch.empty_like(x) for x in self.x]
        self.dw = [torch.empty_like(w) for w in self.w]
        rest = samples % batch
        self.rest: Products | None = None
        if rest and self.steps:
            self.rest = Products(widths, rest, rest, device=device, dtype=dtype)

    def forward(self) -> None:
        """Compute a forward pass: x @ W of each layer."""
        for x, w, y in zip(self.x, self.w, self.y, strict=True):
            torch.mm(x, w.t(), out=y)

    def step(self) -> None:
        """Compute a forward and a backward pass: dW of each layer, dx of each but the first."""
        self.forward()
        for layer in reversed(range(len(self.pairs))):
            torch.mm(self.dy[layer].t(), self.x[layer], out=self.dw[layer])
            if layer:
                torch.mm(self.dy[layer], self.w[layer], out=self.dx[layer])

    def epoch(self) -> None:
        """Compute every step of an epoch."""
        for _ in range(self.steps):
            self.step()
        if self.rest is not None:
            self.rest.step()

    def forward_epoch(self) -> None:
        """Compute the forward passes of an epoch."""
        for _ in range(self.steps):
            self.forward()
        if self.rest is not None:
            self.rest.forward()

    @property
    def forward_flops(self) -> int:
        """Number of multiplications and additions of a forward pass."""
        return 2 * self.batch * sum(inputs * outputs for inputs, outputs in self.pairs)

    @property
    def step_flops(self) -> int:
        """Number of multiplications and additions of a step."""
        return 3 * self.forward_flops - 2 * self.batch * self.pairs[0][0] * self.pairs[0][1]


def rate(call: Callable[[], object], flops: int, *, seconds: float = 1.0) -> float:
    """Measure the best sustained rate of products in GF/s.

    It is the best of five blocks that take a fifth of ``seconds`` each.
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
    """Measure the rate of a large square product in GF/s."""
    a, b, c = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(3))
    return rate(lambda: torch.mm(a, b, out=c), 2 * size**3, seconds=5.0 if size > 1000 else 0.1)
