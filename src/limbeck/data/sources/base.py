"""Sources of inputs for a transfer set other than the training split.

Their inputs have no labels; only the teacher says what they show.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from limbeck._base.errors import ConfigError
from limbeck._base.progress import StageProgress
from limbeck.data.dataset import Split
from limbeck.losses.base import UNLABELLED


class SourceTeacher(Protocol):
    """A teacher as a source sees it.

    Attributes:
        models: Members of the teacher in eval mode, on the device of the training, for gradients
            with respect to inputs.
    """

    models: list[nn.Module]

    def answer(self, x: Tensor) -> Tensor:
        """Return logits without gradient.

        Args:
            x: Inputs ``[B, *shape]``, images from 0 to 1.

        Returns:
            Logits ``[B, C]``.
        """


class Source(ABC):
    """Inputs from elsewhere: images, noise, a generator.

    What a source makes is a pure function of its settings, of the task and, if ``needs_teacher``,
    of the teacher. So a run that is resumed sees the same inputs. Sources with equal settings
    should be equal, as frozen dataclasses are.

    Attributes:
        needs_teacher: Whether :meth:`make` asks the teacher.
    """

    needs_teacher: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for tables."""

    @abstractmethod
    def make(
        self,
        *,
        shape: Sequence[int],
        classes: int,
        teacher: SourceTeacher | None,
        progress: StageProgress,
    ) -> Tensor:
        """Make the inputs.

        Args:
            shape: Shape of one input.
            classes: Number of classes of the task.
            teacher: Teacher of the study; None if it has none or ``needs_teacher`` is false.
            progress: Progress display for long stages.

        Returns:
            ``[N, *shape]``: uint8 images (0 to 255), or floats as a model sees them (images from 0
            to 1).
        """

    def check(self, shape: Sequence[int]) -> None:  # noqa: B027  # few have anything to check
        """Check the settings before anything is trained.

        Args:
            shape: Shape of one input.

        Raises:
            ConfigError: If the source has no inputs of that shape.
        """

    def small(self, samples: int) -> "Source":
        """Return the same source with less work, for a quick run.

        The default lowers the field ``samples`` of a dataclass. Sources that take long in another
        way override this.

        Args:
            samples: Number of inputs at most.
        """
        own = vars(self).get("samples")
        if is_dataclass(self) and isinstance(own, int):
            return replace(self, samples=min(own, samples))
        return self


def as_pool(source: Source, inputs: object, like: Tensor) -> Split:
    """Check the inputs of a source and return them as a split without labels.

    Args:
        source: Source of the inputs, for messages.
        inputs: Result of :meth:`Source.make`.
        like: Training inputs ``[M, *shape]``.

    Raises:
        ConfigError: If the inputs are not ``[N, *shape]`` of a dtype that models of the data read.
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
                f"transfer.source ({source.name}) made inputs that are infinite or not a number."
            )
    return Split(inputs, torch.full((len(inputs),), UNLABELLED))


def _wrong_inputs(source: Source, result: str, like: Tensor) -> ConfigError:
    types = "uint8 or floats" if like.dtype == torch.uint8 else "floats"
    shape = ", ".join(str(size) for size in like.shape[1:])
    return ConfigError(
        f"transfer.source ({source.name}) made {result}; [N, {shape}] of {types} was expected."
    )
