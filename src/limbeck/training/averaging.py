"""Averages of weights over the steps of a training, with which models are validated and saved.

The averages are those of ``torch.optim.swa_utils``. As in Lightning's ``WeightAveraging``, the
statistics of BatchNorm and other buffers of floating-point numbers are averaged, too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from limbeck._base.errors import ConfigError
from limbeck.training.optimizer import Optimizer

SWA_START = 0.75
"""Share of the steps after which ``swa`` begins, as in Izmailov et al. 2018."""


class WeightAverage:
    """The average of the weights and the floating-point buffers of a model, which it copies.

    The average is in float32 if the weights are of lower precision.

    Args:
        model: Model that is trained.
        kind: ``ema`` or ``swa``, see :class:`limbeck.Optimizer`.
        decay: Largest decay of ``ema``. That of the first steps is smaller, so that they are
            forgotten.
        steps: Number of optimizer steps of the training; ``swa`` needs it.
    """

    def __init__(self, model: nn.Module, kind: str, *, decay: float = 0.999, steps: int = 0):
        self.kind, self.decay = kind, decay
        self.first = int(SWA_START * steps) if kind == "swa" else 0
        self.step = 0  # optimizer steps of the training
        self.count = 0  # those that are in the average
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._current: list[Tensor] = [tensor.detach() for tensor in (*weights, *buffers)]
        self._mean = [_in_float32(tensor).clone() for tensor in self._current]

    def update(self) -> None:
        """Add the weights after an optimizer step."""
        self.step += 1
        if self.step <= self.first:
            return
        if self.count == 0:
            for mean, tensor in zip(self._mean, self._current, strict=True):
                mean.copy_(tensor)
        else:
            self._add()
        self.count += 1

    def _add(self) -> None:
        if self.kind == "swa":
            add = get_swa_multi_avg_fn()
        else:
            add = get_ema_multi_avg_fn(min(self.decay, (1 + self.count) / (10 + self.count)))
        current = [_in_float32(tensor) for tensor in self._current]
        for dtype in {tensor.dtype for tensor in current}:  # one type at a time
            indices = [i for i, tensor in enumerate(current) if tensor.dtype == dtype]
            add([self._mean[i] for i in indices], [current[i] for i in indices], self.count)

    @torch.no_grad()
    def apply(self) -> None:
        """Give the model the averaged weights; its own if no step has been averaged yet."""
        if self.count == 0:
            return
        for tensor, mean in zip(self._current, self._mean, strict=True):
            tensor.copy_(mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights, and its own afterwards."""
        own = [tensor.clone() for tensor in self._current]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, values in zip(self._current, own, strict=True):
                    tensor.copy_(values)

    def state_dict(self) -> dict[str, Any]:
        """The average, and the number of steps."""
        return {"step": self.step, "count": self.count, "mean": self._mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the average of :meth:`state_dict`."""
        for mean, saved in zip(self._mean, state["mean"], strict=True):
            mean.copy_(saved)
        self.step, self.count = state["step"], state["count"]


def _in_float32(tensor: Tensor) -> Tensor:
    """Return a tensor of at least 32 bits."""
    return tensor.float() if tensor.element_size() < 4 else tensor


def average_of(model: nn.Module, optimizer: object, steps: int) -> WeightAverage | None:
    """Return the average of a model's weights that an optimizer asks for; None without one.

    Args:
        model: Model that is trained.
        optimizer: Settings of the optimizer, or an optimizer of the user, which has no average.
        steps: Number of optimizer steps of the training; -1 if it is unknown.

    Raises:
        ConfigError: If the average needs the number of steps and it is unknown.
    """
    if not isinstance(optimizer, Optimizer) or optimizer.averaging is None:
        return None
    if optimizer.averaging == "swa" and steps < 1:
        raise ConfigError(
            "optimizer.averaging=swa averages the last quarter of the steps, so it needs a loader "
            "that has a length."
        )
    return WeightAverage(model, optimizer.averaging, decay=optimizer.ema_decay, steps=steps)


def with_average(average: WeightAverage | None) -> Any:
    """Return a context in which the model has the averaged weights, if there are any."""
    return nullcontext() if average is None else average.applied()
