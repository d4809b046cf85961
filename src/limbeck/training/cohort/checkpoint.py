"""Checkpoints of the training loop, from which a training resumes with identical results."""

import os
import pickle
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from limbeck._base.errors import LimbeckWarning, UntrustedFileError

CHECKPOINT = "last.ckpt"
CHECKPOINTS = 20
"""About the number of checkpoints of a training."""
FORMAT = "limbeck 2"
"""Format of these checkpoints; version 0.1.0 wrote checkpoints of Lightning's Trainer."""


def is_due(epochs_done: int, epochs: int) -> bool:
    """Whether a checkpoint is saved after so many of the epochs of a training."""
    return epochs_done % max(1, epochs // CHECKPOINTS) == 0


def random_state() -> dict[str, Any]:
    """State of PyTorch's random number generators, of the CPU and of all GPUs."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "gpus": gpus}


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore the state of PyTorch's random number generators."""
    torch.set_rng_state(state["cpu"])
    if len(state["gpus"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["gpus"])


def save_checkpoint(fabric: Fabric, path: Path, parts: dict[str, Any], **facts: Any) -> None:
    """Save a checkpoint atomically: a process that is killed, or a full disk, keeps the last one.

    Args:
        fabric: Fabric of the training; its first process writes.
        path: File to write.
        parts: Objects with a ``state_dict``, by name.
        facts: Plain values.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        fabric.save(temporary, {**parts, **facts, "random": random_state(), "format": FORMAT})
        if fabric.is_global_zero:
            os.replace(temporary, path)
    finally:
        if fabric.is_global_zero:
            with suppress(FileNotFoundError):
                temporary.unlink()


def load_checkpoint(fabric: Fabric, path: Path, parts: dict[str, Any]) -> dict[str, Any] | None:
    """Restore parts and random state from a checkpoint, without running code in the file.

    Args:
        fabric: Fabric of the training.
        path: File of :func:`save_checkpoint`.
        parts: Objects with a ``load_state_dict``, by name.

    Returns:
        The plain values; None if there is no checkpoint, or it has another format.

    Raises:
        UntrustedFileError: If the file is damaged or belongs to other students.
    """
    if not path.is_file():
        return None
    try:
        content = fabric.load(path, weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _damaged(path, error) from None
    if content.get("format") != FORMAT:
        warnings.warn(
            f"{path} was written by another version of limbeck and cannot be resumed. These "
            "students are trained from the first epoch.",
            LimbeckWarning,
            stacklevel=2,
        )
        return None
    try:
        for name, part in parts.items():
            part.load_state_dict(content[name])
        restore_random_state(content["random"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise _damaged(path, error) from None
    return content


def _damaged(path: Path, error: Exception) -> UntrustedFileError:
    reason = str(error).splitlines()[0]
    return UntrustedFileError(
        f"{path} is damaged or belongs to other students ({reason}). Delete it to train these "
        "students from the first epoch."
    )
