"""The teacher's signal: raw logits for a batch, live from models or from what was computed before.

A signal is not a module: it never enters a student's module tree, its checkpoint or its optimizer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from limbeck.data.dataset import as_float
from limbeck.data.views import Views
from limbeck.errors import ConfigError, TeacherError
from limbeck.losses.divergence import upcast

ANSWER_BATCH = 128
"""Inputs a teacher is asked at a time: a small convnet's maps then stay in a processor's cache."""
COMBINE = ("probabilities", "logits")


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
        logits: ``[N, V, C]`` for each row of the training split and each view.
    """

    def __init__(self, logits: Tensor):
        self.logits = logits

    def __call__(self, x: Tensor, sample: Tensor | None, view: Tensor | None) -> Tensor:
        """Logits for a batch, see :class:`TeacherSignal`."""
        if sample is None or view is None:
            raise TeacherError("Stored answers need each sample's row and view; a plain (x, y) batch has none.")
        if self.logits.device != x.device:
            self.logits = self.logits.to(x.device)
        return upcast(self.logits[sample, view])

    @classmethod
    def compute(
        cls, teacher: LiveTeacher, inputs: Tensor, views: Views, *, device: torch.device,
        batch_size: int = ANSWER_BATCH, progress: Callable[[int], object] = lambda done: None,
    ) -> "StoredTeacher":  # fmt: skip
        """Ask a teacher for every sample in every view.

        Args:
            teacher: asked in eval mode.
            inputs: of the training split, ``[N, ...]``.
            views: all ``views.count`` of them are asked.
            device: where to compute.
            batch_size: inputs at a time.
            progress: called with the number of answers so far.
        """
        parts: list[Tensor] = []
        for view in range(views.count):
            answers = []
            for start in range(0, len(inputs), batch_size):
                batch = inputs[start : start + batch_size].to(device)
                rows = torch.arange(start, start + len(batch), device=device)
                seen = views.apply(batch, torch.full((len(batch),), view, device=device), rows)
                answers.append(teacher.answer(as_float(seen)))
                progress(view * len(inputs) + start + len(batch))
            parts.append(torch.cat(answers))
        return cls(torch.stack(parts, dim=1))
