"""Sources of inputs for a transfer set that are not the training split: all unlabelled, only the
teacher knows them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError, DataError
from limbeck._base.progress import StageProgress
from limbeck.data.dataset import Split
from limbeck.data.images.decoding import read_images
from limbeck.data.images.files import files_below
from limbeck.data.images.mnist import read_idx
from limbeck.losses.base import UNLABELLED


class Answering(Protocol):
    """A teacher as a source sees it: :class:`limbeck.teacher.signal.LiveTeacher`.

    Attributes:
        models: its members in eval mode, on the device of the training, for gradients with respect
            to inputs.
    """

    models: list[nn.Module]

    def answer(self, x: Tensor) -> Tensor:
        """Raw logits ``[B, C]`` for inputs ``[B, *shape]``, images from 0 to 1, without gradient."""


class Source(ABC):
    """Inputs from elsewhere: images, noise, a generator.

    What it makes is a pure function of its settings, of the task and, where ``needs_teacher``, of
    the teacher; so a run that is resumed sees the same. Sources with equal settings should be
    equal: a frozen dataclass is.

    Attributes:
        needs_teacher: whether ``make`` asks the teacher.
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
        teacher: Answering | None,
        progress: StageProgress,
    ) -> Tensor:
        """Make the inputs.

        Args:
            shape: of one input.
            classes: of the task.
            teacher: None where the study has none, or ``needs_teacher`` is false.
            progress: shows long stages.

        Returns:
            ``[N, *shape]``: uint8 images (0 to 255), or floats as a model sees them (images from 0
            to 1).
        """

    def check(self, shape: Sequence[int]) -> None:  # noqa: B027  # few have anything to check
        """Meet mistakes before anything is trained; of a source that needs a teacher nothing is
        made before.

        Args:
            shape: of one input.

        Raises:
            ConfigError: there are no inputs of that shape.
        """

    def small(self, samples: int) -> "Source":
        """The same source with at most ``samples`` inputs and seconds of work, for a quick run.

        A dataclass with a number of ``samples`` has it lowered; others that take long override
        this.
        """
        own = vars(self).get("samples")
        if is_dataclass(self) and isinstance(own, int):
            return replace(self, samples=min(own, samples))
        return self


@dataclass(frozen=True)
class ImagesFrom(Source):
    """Images on disk, without labels: a folder of image files, an ``.npy`` array, or an idx file of
    unsigned bytes.

    Attributes:
        path: the file (idx gzipped or not), or the folder; images in folders below it count, and
            each is resized and cropped about its middle to the size of the data's.
        samples: take only so many of them, from the first; None for all.

    Raises:
        ConfigError: ``samples`` is no whole number of at least 1.
    """

    path: str | Path
    samples: int | None = None

    def __post_init__(self) -> None:
        if self.samples is not None:
            check_count("transfer.source.samples", self.samples)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"images from {Path(self.path).name}"

    def small(self, samples: int) -> "ImagesFrom":
        """The first ``samples`` images at most."""
        return replace(
            self, samples=samples if self.samples is None else min(samples, self.samples)
        )

    def make(
        self,
        *,
        shape: Sequence[int],
        classes: int,
        teacher: Answering | None,
        progress: StageProgress,
    ) -> Tensor:
        """The images, uint8 ``[N, *shape]``.

        Raises:
            DataError: the file is missing, damaged or of another kind, or its images have another
                shape.
        """
        path = Path(self.path).expanduser()
        images = (
            _decoded(path, shape, self.samples)
            if path.is_dir()
            else _read(path, len(shape))[: self.samples]
        )
        if len(shape) == 3 and shape[0] == 1 and images.ndim == 3:
            images = images[:, None]
        if not len(images) or list(images.shape[1:]) != list(shape):
            raise DataError(
                f"transfer.source: {self.path} holds an array of shape {list(images.shape)}; at "
                "least one input of "
                f"shape {list(shape)}, as those of the data, was expected."
            )
        return torch.from_numpy(np.array(images))


def _decoded(folder: Path, shape: Sequence[int], most: int | None) -> np.ndarray:
    """uint8 images of the files in a folder, in the order of their paths."""
    files = files_below(folder)
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2]:
        raise DataError(
            f"transfer.source: the data has inputs of shape {list(shape)}; image files can stand "
            "for square images of "
            "1 or 3 channels only. Give the inputs as an .npy array."
        )
    return read_images(files[:most], size=shape[1], channels=shape[0]).numpy()


def _read(file: Path, dimensions: int) -> np.ndarray:
    """uint8 images of an ``.npy`` or idx file."""
    if file.suffix != ".npy":
        return read_idx(file, dimensions=dimensions)
    try:
        images = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"transfer.source: {file} cannot be read as a NumPy array ({error})."
        ) from None
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(
            f"transfer.source: {file} holds {found}; an array of uint8 (0 to 255) was expected."
        )
    return images


def as_pool(source: Source, inputs: Any, like: Tensor) -> Split:
    """What a source has made as a split without labels.

    Args:
        source: for messages.
        inputs: what it made.
        like: training inputs ``[M, *shape]``.

    Raises:
        ConfigError: it made no such inputs.
    """
    found = (
        f"shape {list(inputs.shape)} {inputs.dtype}"
        if isinstance(inputs, Tensor)
        else type(inputs).__name__
    )
    shape = list(like.shape[1:])
    fits = isinstance(inputs, Tensor) and list(inputs.shape[1:]) == shape and len(inputs) > 0
    bytes_ = fits and inputs.dtype == torch.uint8 and like.dtype == torch.uint8
    if not (bytes_ or (fits and inputs.is_floating_point())):
        allowed = "uint8 or floats" if like.dtype == torch.uint8 else "floats"
        raise ConfigError(
            f"transfer.source ({source.name}) made {found}; [N, {str(shape)[1:-1]}], {allowed}, "
            "was expected."
        )
    inputs = inputs.detach().cpu()
    if not bytes_:
        inputs = inputs.float()
        if not bool(torch.isfinite(inputs).all()):
            raise ConfigError(
                f"transfer.source ({source.name}) made inputs that are infinite or not a number."
            )
    return Split(inputs, torch.full((len(inputs),), UNLABELLED))
