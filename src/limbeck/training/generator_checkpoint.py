"""Checkpoints of a generator's training, which goes on from them with identical results."""

import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from limbeck._base.errors import LimbeckWarning
from limbeck.training.cohort.checkpoint_file import (
    UnusableError,
    read_checkpoint,
    write_checkpoint,
)
from limbeck.training.cohort.save_times import SAVE_SECONDS


class HasState(Protocol):
    """An object whose state can be saved and restored."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state."""


class GeneratorCheckpoints:
    """The newest checkpoint of a generator's training, saved about every minute.

    Args:
        folder: Folder of the checkpoint; None to save none.
        training: Training to save and restore.
        description: Description of the training; a checkpoint of another one is not used.
    """

    def __init__(self, folder: Path | None, training: HasState, description: str):
        self.file = None if folder is None else folder / "generator.ckpt"
        self.training = training
        self.description = description
        self._next_time = time.monotonic() + SAVE_SECONDS

    def load(self, parts: list[Tensor]) -> int:
        """Restore the training and the images drawn so far, if there is a checkpoint.

        Args:
            parts: List that the images are added to.

        Returns:
            The number of the next step, from 1.

        Warns:
            LimbeckWarning: If the checkpoint is damaged.
        """
        if self.file is None or not self.file.is_file():
            return 1
        try:
            content = read_checkpoint(self.file)
            if content.get("description") != self.description:
                raise UnusableError("belongs to another generator")
        except UnusableError as error:
            warnings.warn(
                f"{self.file} {error}. The generator is trained from the first step.",
                LimbeckWarning,
                stacklevel=2,
            )
            return 1
        self.training.load_state_dict(content["training"])
        parts.extend(content["parts"])
        return int(content["step"]) + 1

    def save_if_due(self, step: int, parts: list[Tensor]) -> None:
        """Save a checkpoint a minute after the last one; if it cannot be written, go on."""
        if self.file is None or time.monotonic() < self._next_time:
            return
        content = {
            "description": self.description,
            "training": self.training.state_dict(),
            "parts": parts,
            "step": step,
        }
        with suppress(OSError):  # the images, which are larger, will tell
            write_checkpoint(self.file, content)
        self._next_time = time.monotonic() + SAVE_SECONDS
