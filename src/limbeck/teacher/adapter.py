"""Teachers that are not modules of PyTorch, adapted to modules from inputs to logits."""

from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck._base.errors import LimbeckError, TeacherError
from limbeck.data.dataset import as_float
from limbeck.models.files.weights import WEIGHTS, read_weights

PROBES = 64
"""Number of inputs, and of means of two inputs, whose answers identify a model."""
TOLERANCE = 5e-3
"""Difference of answers of the same model, as a share of the largest one."""


class Adapter(nn.Module, ABC):
    """A frozen model of another library, as a module.

    It has no weights and no gradients. It computes where its library does, and its answers come
    back to the device of the inputs. Its buffers say which model it is: they are part of the
    store's key, and are saved in the run folder.

    Args:
        name: Name of the model.

    Attributes:
        name: Name of the model.
        parameter_count: Number of parameters; 0 if it is not known.
        notes: Sentences about what is done to inputs and outputs, for people.
    """

    parameter_count = 0

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.notes: list[str] = []

    def forward(self, *inputs: Tensor, **by_name: Tensor) -> object:
        """Compute logits ``[B, C]`` of inputs ``[B, ...]``.

        Raises:
            TeacherError: If there are several inputs, or they do not fit the model.
        """
        if len(inputs) != 1 or by_name:
            names = [*(str(number) for number in range(len(inputs))), *by_name]
            raise TeacherError(
                f"{self.name} takes one input, but a batch has several ({', '.join(names)}). "
                "Choose one with teacher_inputs, or pass a function that takes all of them."
            )
        return self.compute(inputs[0])

    @abstractmethod
    def compute(self, x: Tensor) -> object:
        """Compute logits ``[B, C]`` of inputs ``[B, ...]``, see :meth:`forward`."""

    def _note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def save_files(self, folder: Path) -> None:
        """Write what the model can be loaded from, besides its buffers; nothing by default."""


class ProbedModel(Adapter):
    """A model that is known by its answers: a function, or an estimator of another library.

    Neither has a file with a checksum. Its answers to some inputs of the study stand for it.
    """

    answers: Tensor

    def __init__(self, name: str):
        super().__init__(name)
        self.register_buffer("answers", torch.zeros(0))

    @abstractmethod
    def description(self) -> str:
        """Describe the model; another description means another model."""

    def extra_repr(self) -> str:
        """Return the description, which is part of the store's key."""
        return self.description()

    @torch.no_grad()
    def identify(self, inputs: Tensor) -> None:
        """Record the answers to some inputs.

        Args:
            inputs: Inputs of the training split, ``[N, ...]``.
        """
        self.answers = self(probes_of(inputs)).float().cpu()


def probes_of(inputs: Tensor) -> Tensor:
    """Return the inputs that identify a model, and means of two of them.

    A model may be certain of each of its own training samples, and so may another one. Between them
    the two differ.

    Args:
        inputs: Inputs of the training split, ``[N, ...]``.
    """
    first = as_float(inputs[:PROBES])
    if not first.is_floating_point():
        return first
    return torch.cat([first, (first + first.roll(1, 0)) / 2])


def adapter_of(model: nn.Module) -> Adapter | None:
    """Return the adapter that a model is, or that it wraps; None if there is none."""
    return next((module for module in model.modules() if isinstance(module, Adapter)), None)


def identify(model: nn.Module, inputs: Tensor, folder: Path) -> None:
    """Record the answers that identify a model, if it is known by its answers.

    In a resumed run, answers that differ only by rounding are replaced by those of the run, so that
    the model stays the same one.

    Args:
        model: Teacher.
        inputs: Inputs of the training split, ``[N, ...]``.
        folder: Folder in which a resumed run has saved the teacher.

    Raises:
        TeacherError: If it is not the model of the resumed run.
    """
    adapter = adapter_of(model)
    if not isinstance(adapter, ProbedModel):
        return
    adapter.identify(inputs)
    saved = None
    with suppress(LimbeckError, OSError):
        weights = read_weights(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else {}
        saved = next((w for name, w in weights.items() if name.endswith("answers")), None)
    if saved is None:
        return
    if not _is_close(adapter.answers, saved):
        raise TeacherError(
            f"{folder}: the teacher has changed since this run was started, so the run cannot be "
            "resumed. Restore it, or start over with overwrite=true."
        )
    adapter.answers = saved


def _is_close(answers: Tensor, saved: Tensor) -> bool:
    if answers.shape != saved.shape or answers.dtype != saved.dtype:
        return False
    tolerance = TOLERANCE * max(float(saved.abs().amax()), 1e-6)
    return bool(((answers - saved).abs() <= tolerance).all())
