"""The teacher's signal: its answers to a batch, live from models or from what was computed before.

A signal is not a module: it never enters a student's module tree, its checkpoint or its optimizer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError, TeacherError
from limbeck.losses.divergences import upcast
from limbeck.losses.sparse import SparseTargets

COMBINE = ("probabilities", "logits")
MOST_ON_DEVICE = 2 << 30
"""Bytes of stored answers that are put on an accelerator; larger ones are picked on the CPU."""


class TeacherSignal(ABC):
    """Raw logits of a teacher, never softened: the temperature belongs to the loss; or what is kept
    of them.
    """

    @abstractmethod
    def __call__(
        self, x: Tensor, sample: Tensor | None, view: Tensor | None
    ) -> Tensor | SparseTargets:
        """Answers to a batch.

        Args:
            x: inputs as the student sees them, ``[..., B, *shape]``.
            sample: row numbers of the samples in the training split, int64 ``[..., B]``; None
                outside a study.
            view: the view of each, likewise.

        Returns:
            float32 logits ``[..., B, C]`` (float64 from a model in float64), without gradient; of
            blocks of tokens ``[..., B, T, C]``. Where a store keeps K of the classes, these:
            ``[..., B, K]`` or ``[..., B, T, K]``.
        """


class LiveTeacher(TeacherSignal):
    """One or several frozen models that answer for each batch.

    Args:
        models: each gives logits ``[B, C]`` for inputs ``[B, *shape]``, or ``[B, T, C]`` for token
            ids ``[B, T]``; put into eval mode, their weights and buffers never change.
        combine: how several answers become one: ``probabilities`` is the log of the mean
            probability (arithmetic mean), ``logits`` the mean of the logits (geometric mean of the
            probabilities at every temperature).

    Raises:
        ConfigError: no model, or an unknown way to combine.
    """

    def __init__(self, models: nn.Module | Sequence[nn.Module], *, combine: str = "probabilities"):
        self.models = [models] if isinstance(models, nn.Module) else list(models)
        if not self.models:
            raise ConfigError("A teacher needs at least one model.")
        if combine not in COMBINE:
            raise ConfigError(
                f"teacher.combine={combine!r} is unknown; choose one of {', '.join(COMBINE)}."
            )
        self.combine = combine

    def __call__(
        self, x: Tensor, sample: Tensor | None = None, view: Tensor | None = None
    ) -> Tensor:
        """Logits for a batch, see :class:`TeacherSignal`."""
        batch_dims = 1 if sample is None else sample.ndim
        return self.answer(x.flatten(0, batch_dims - 1)).unflatten(0, x.shape[:batch_dims])

    def ready(self, device: torch.device) -> None:
        """Put the members on a device, and into eval mode."""
        for model in self.models:
            first = next(model.parameters(), None)
            if first is not None and first.device != device:
                model.to(device)
            if any(module.training for module in model.modules()):
                model.eval()

    @torch.no_grad()
    def answer(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` for inputs ``[B, *shape]``, of a language model ``[B, T, C]`` for ids
        ``[B, T]``.

        Raises:
            TeacherError: the members differ in the number of classes.
        """
        self.ready(x.device)
        logits = []
        for model in self.models:
            first = next(model.parameters(), None)
            asked = x.to(first.dtype) if first is not None and x.is_floating_point() else x
            logits.append(upcast(model(asked)))
        if len(logits) == 1:
            return logits[0]
        if len({answer.shape for answer in logits}) > 1:
            raise TeacherError(
                f"The members of the teacher give {[answer.shape[-1] for answer in logits]} "
                "classes; they should agree."
            )
        stacked = torch.stack(logits)
        if self.combine == "logits":
            return stacked.mean(0)
        return torch.log_softmax(stacked, -1).logsumexp(0) - torch.log(
            torch.tensor(float(len(logits)))
        )


class StoredTeacher(TeacherSignal):
    """Answers computed once, looked up by sample and view.

    Args:
        records: what is kept, ``[N, V, ...]``: logits ``[N, V, C]`` or ``[N, V, T, C]`` in any
            floating dtype, or what ``decode`` reads; may be mapped from a file.
        rows: the row of the training split that each is for, int64 ``[N]``; None for the whole
            split, in order.
        samples: the size of the training split, where ``rows`` is given.
        decode: the answers in records ``[..., B, ...]`` that were picked.
    """

    def __init__(
        self,
        records: Tensor,
        *,
        rows: Tensor | None = None,
        samples: int = 0,
        decode: Callable[[Tensor], Tensor | SparseTargets] = upcast,
    ):
        self.records, self.decode = records, decode
        self.place: Tensor | None = None
        if rows is not None:
            self.place = torch.full((max(samples, int(rows.max()) + 1),), -1)
            self.place[rows] = torch.arange(len(rows))

    def __call__(
        self, x: Tensor, sample: Tensor | None, view: Tensor | None
    ) -> Tensor | SparseTargets:
        """Answers to a batch, see :class:`TeacherSignal`.

        Raises:
            TeacherError: the batch has no rows and views, or there is no answer to one of its
                samples.
        """
        if sample is None or view is None:
            raise TeacherError(
                "Stored answers need each sample's row and view; a plain (x, y) batch has none."
            )
        if self.records.device != x.device and self.records.nbytes <= MOST_ON_DEVICE:
            self.records = self.records.to(x.device)
        home = self.records.device
        place = self._place_of(sample.to(home))
        if self.records.shape[1] == 1:  # several times faster than an index by rows and views
            picked = self.records[:, 0].index_select(0, place.flatten()).unflatten(0, place.shape)
        else:
            picked = self.records[place, view.to(home)]
        return self.decode(picked.to(x.device))

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
                f"{len(self.records)} samples of {len(self.place)}. This is a fault of limbeck; "
                "use store=off."
            )
        return place
