"""Unlabelled images on disk as a transfer set."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck._base.checks import check_count
from limbeck._base.errors import DataError
from limbeck._base.progress import StageProgress
from limbeck._base.runtime.files import open_file
from limbeck.data.dataset import Dataset
from limbeck.data.images.decoding import Decoding, read_images
from limbeck.data.images.idx import read_idx
from limbeck.data.images.listing import require_images
from limbeck.data.sources.base import Source, SourceTeacher


@dataclass(frozen=True)
class ImagesFrom(Source):
    """Images on disk, without labels.

    Attributes:
        path: A folder of image files, an ``.npy`` array of uint8, or an idx file of unsigned bytes,
            gzipped or not. Subfolders of a folder are included. Image files are center-cropped
            and resized to the size of the dataset's images.
        samples: Number of images to use, in order; None for all.

    Raises:
        ConfigError: If ``samples`` is not a whole number of at least 1.
    """

    path: str | Path
    samples: int | None = None
    _crop_border: bool = field(default=False, init=False, repr=False, compare=False)
    _value_range: tuple[float, float] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.samples is not None:
            check_count("transfer.source.samples", self.samples)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"images from {Path(self.path).name}"

    def for_data(self, data: Dataset) -> "ImagesFrom":
        """Return a source that prepares image files like those of a dataset."""
        source = replace(self)
        object.__setattr__(source, "_crop_border", data.crop_border)
        object.__setattr__(source, "_value_range", data.value_range)
        return source

    def small(self, samples: int) -> "ImagesFrom":
        """Return a source of at most the first ``samples`` images."""
        if self.samples is not None:
            samples = min(samples, self.samples)
        return replace(self, samples=samples)

    def make(
        self,
        *,
        shape: Sequence[int],
        classes: int,
        teacher: SourceTeacher | None,
        progress: StageProgress,
    ) -> Tensor:
        """Read the images, uint8 ``[N, *shape]``.

        Raises:
            DataError: If the file is missing, damaged or of another kind, or if its images have
                another shape.
        """
        path = Path(self.path).expanduser()
        if path.is_dir():
            images = self._decode_folder(path, shape)
        else:
            images = _read_array(path, len(shape))[: self.samples]
        if len(shape) == 3 and shape[0] == 1 and images.ndim == 3:
            images = images[:, None]
        if not len(images) or list(images.shape[1:]) != list(shape):
            raise DataError(
                f"transfer.source: {self.path} contains an array of shape {list(images.shape)}; "
                f"expected at least one input of shape {list(shape)}, as in the dataset."
            )
        return torch.from_numpy(np.array(images))

    def _decode_folder(self, folder: Path, shape: Sequence[int]) -> np.ndarray:
        """Decode the files of a folder in the order of their paths, uint8 ``[N, *shape]``."""
        files = require_images(folder)
        if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2]:
            raise DataError(
                f"transfer.source: the dataset has inputs of shape {list(shape)}, but image files "
                "can only replace square images of 1 or 3 channels. Pass the inputs as an .npy "
                "array."
            )
        decoding = Decoding(
            size=shape[1],
            channels=shape[0],
            crop_border=self._crop_border,
            value_range=self._value_range,
        )
        return read_images(files[: self.samples], decoding).numpy()


def _read_array(file: Path, dimensions: int) -> np.ndarray:
    """Read a uint8 array from an ``.npy`` or idx file."""
    if file.suffix != ".npy":
        return read_idx(file, dimensions=dimensions)
    try:
        open_file(file, allow_gaps=True).close()  # NumPy would wait for a pipe
        images = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"transfer.source: {file} cannot be read as a NumPy array ({error})."
        ) from None
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        kind = getattr(images, "dtype", type(images).__name__)
        raise DataError(
            f"transfer.source: {file} contains {kind}; expected an array of uint8 (0 to 255)."
        )
    return images
