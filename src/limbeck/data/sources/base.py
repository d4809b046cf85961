"""Sources of inputs for a transfer set, other than the training split.

Their inputs have no labels; the student learns only from the teacher's answers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data.dataset import Dataset, Split
from limbeck.losses.base import UNLABELLED


class SourceTeacher(Protocol):
    """The part of a teacher that a source may use."""

    @property
    def models(self) -> Sequence[nn.Module]:
        """Members of the teacher in eval mode, on the device of the training, for gradients with
        respect to inputs.
        """

    def answer(self, x: Tensor) -> Tensor:
        """Return logits without gradient.

        Args:
            x: Inputs ``[B, *shape]``, images from 0 to 1.

        Returns:
            Logits ``[B, C]``.
        """


class Source(ABC):
    """A source of inputs, such as images, noise or a generator.

    The inputs must be a pure function of the settings of the source, of the task and, if
    ``needs_teacher``, of the teacher, so that a resumed run sees the same inputs. Sources with
    equal settings should compare equal, as frozen dataclasses do.

    Attributes:
        needs_teacher: Whether :meth:`make` uses the teacher.
    """

    needs_teacher: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for tables."""

    def for_data(self, data: Dataset) -> "Source":
        """Return this source with the settings that it takes from a dataset; by default itself."""
        return self

    @abstractmethod
    def make(
        self,
        *,
        shape: Sequence[int],
        classes: int,
        teacher: SourceTeacher | None,
        progress: StageProgress,
    ) -> Tensor:
        """Create the inputs.

        Args:
            shape: Shape of one input.
            classes: Number of classes of the task.
            teacher: Teacher of the study; None if it has none or ``needs_teacher`` is false.
            progress: Progress display for long stages.

        Returns:
            ``[N, *shape]``: uint8 images (0 to 255), or floats in the form that models take (images
            from 0 to 1).
        """

    def check(self, shape: Sequence[int]) -> None:  # noqa: B027  # optional
        """Check the settings before anything is trained.

        Args:
            shape: Shape of one input.

        Raises:
            ConfigError: If the source has no inputs of that shape.
        """

    def small(self, samples: int) -> "Source":
        """Return the same source with less work, for a quick run.

        The default reduces the field ``samples`` of a dataclass. Sources with other expensive
        settings override this method.

        Args:
            samples: Largest number of inputs.
        """
        current = vars(self).get("samples")
        if is_dataclass(self) and isinstance(current, int):
            return replace(self, samples=min(current, samples))
        return self


def as_pool(source: Source, inputs: object, like: Tensor) -> Split:
    """Check the inputs of a source and return them as a split without labels.

    Args:
        source: Source of the inputs, for messages.
        inputs: Result of :meth:`Source.make`.
        like: Training inputs ``[M, *shape]``.

    Raises:
        ConfigError: If the inputs are not ``[N, *shape]`` or have a wrong dtype.
    """
    shape = list(like.shape[1:])
    if not isinstance(inputs, Tensor):
        raise _wrong_inputs(source, type(inputs).__name__, like)
    both_bytes = inputs.dtype == torch.uint8 and like.dtype == torch.uint8
    if (
        list(inputs.shape[1:]) != shape
        or len(inputs) == 0
        or not (both_bytes or inputs.is_floating_point())
    ):
        raise _wrong_inputs(source, f"shape {list(inputs.shape)} {inputs.dtype}", like)
    inputs = inputs.detach().cpu()
    if not both_bytes:
        inputs = inputs.float()
        if not bool(torch.isfinite(inputs).all()):
            raise ConfigError(
                f"transfer.source ({source.name}) returned inputs that are infinite or not a "
                "number."
            )
    return Split(inputs, torch.full((len(inputs),), UNLABELLED))


def _wrong_inputs(source: Source, result: str, like: Tensor) -> ConfigError:
    types = "uint8 or floats" if like.dtype == torch.uint8 else "floats"
    shape = ", ".join(str(size) for size in like.shape[1:])
    return ConfigError(
        f"transfer.source ({source.name}) returned {result}; expected [N, {shape}] of {types}."
    )
