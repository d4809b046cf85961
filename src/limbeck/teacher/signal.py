"""The teacher's signal: raw logits for a batch, live from models or from what was computed before.

A signal is not a module: it never enters a student's module tree, its checkpoint or its optimizer.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, TeacherError
from limbeck.losses.divergence import upcast

COMBINE = ("probabilities", "logits")
MOST_ON_DEVICE = 2 << 30
"""Bytes of stored answers that are put on an accelerator; larger ones are picked on the CPU."""


class TeacherSignal(ABC):
    """Raw logits of a teacher, never softened: the temperature belongs to the loss."""

    @abstractmethod
    def __call__(self, x: Tensor, sample: Tensor | None, view: Tensor | None) -> Tensor:
        """Logits for a batch.

        Args:
            x: inputs as the student sees them, ``[..., B, *shape]``.
            sample: row numbers of the samples in the training split, int64 ``[..., B]``; None outside a study.
            view: the view of each, likewise.

        Returns:
            float32 logits ``[..., B, C]`` (float64 from a model in float64), without gradient.
        """


class LiveTeacher(TeacherSignal):
    """One or several frozen models that answer for each batch.

    Args:
        models: each gives logits ``[B, C]`` for inputs ``[B, *shape]``; put into eval mode, their weights and
            buffers never change.
        combine: how several answers become one: ``probabilities`` is the log of the mean probability (arithmetic
            mean), ``logits`` the mean of the logits (geometric mean of the probabilities at every temperature).

    Raises:
        ConfigError: no model, or an unknown way to combine.
    """

    def __init__(self, models: nn.Module | Sequence[nn.Module], *, combine: str = "probabilities"):
        self.models = [models] if isinstance(models, nn.Module) else list(models)
        if not self.models:
            raise ConfigError("A teacher needs at least one model.")
        if combine not in COMBINE:
            raise ConfigError(f"teacher.combine={combine!r} is unknown; choose one of {', '.join(COMBINE)}.")
        self.combine = combine

    def __call__(self, x: Tensor, sample: Tensor | None = None, view: Tensor | None = None) -> Tensor:
        """Logits for a batch, see :class:`TeacherSignal`."""
        batch_dims = 1 if sample is None else sample.ndim
        return self.answer(x.flatten(0, batch_dims - 1)).unflatten(0, x.shape[:batch_dims])

    @torch.no_grad()
    def answer(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` for inputs ``[B, *shape]``.

        Raises:
            TeacherError: the members differ in the number of classes.
        """
        logits = []
        for model in self.models:
            first = next(model.parameters(), None)
            if first is not None and first.device != x.device:
                model.to(x.device)
            if any(module.training for module in model.modules()):
                model.eval()
            asked = x.to(first.dtype) if first is not None and x.is_floating_point() else x
            logits.append(upcast(model(asked)))
        if len(logits) == 1:
            return logits[0]
        if len({answer.shape for answer in logits}) > 1:
            raise TeacherError(
                f"The members of the teacher give {[answer.shape[-1] for answer in logits]} classes; they should agree."
            )
        stacked = torch.stack(logits)
        if self.combine == "logits":
            return stacked.mean(0)
        return torch.log_softmax(stacked, -1).logsumexp(0) - torch.log(torch.tensor(float(len(logits))))


class StoredTeacher(TeacherSignal):
    """Answers computed once, looked up by sample and view.

    Args:
        logits: ``[N, V, C]``, in any floating dtype; may be mapped from a file.
        rows: the row of the training split that each is for, int64 ``[N]``; None for the whole split, in order.
        samples: the size of the training split, where ``rows`` is given.
    """

    def __init__(self, logits: Tensor, *, rows: Tensor | None = None, samples: int = 0):
        self.logits = logits
        self.place: Tensor | None = None
        if rows is not None:
            self.place = torch.full((max(samples, int(rows.max()) + 1),), -1)
            self.place[rows] = torch.arange(len(rows))

    def __call__(self, x: Tensor, sample: Tensor | None, view: Tensor | None) -> Tensor:
        """Logits for a batch, see :class:`TeacherSignal`.

        Raises:
            TeacherError: the batch has no rows and views, or there is no answer to one of its samples.
        """
        if sample is None or view is None:
            raise TeacherError("Stored answers need each sample's row and view; a plain (x, y) batch has none.")
        if self.logits.device != x.device and self.logits.nbytes <= MOST_ON_DEVICE:
            self.logits = self.logits.to(x.device)
        home = self.logits.device
        place = self._place_of(sample.to(home))
        return upcast(self.logits[place, view.to(home)].to(x.device))

    def _place_of(self, sample: Tensor) -> Tensor:
        if self.place is None:
            return sample
        self.place = self.place.to(sample.device)
        place = self.place[sample]
        if place.device.type != "cpu":
            torch._assert_async((place >= 0).all())  # without waiting for the device
        elif bool((place < 0).any()):
            row = int(sample[place < 0][0])
            raise TeacherError(
                f"There is no stored answer to training sample {row}: the store holds "
                f"{len(self.logits)} samples of {len(self.place)}. This is a fault of limbeck; use store=off."
            )
        return place
