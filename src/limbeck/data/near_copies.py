"""Images of one split that are nearly the same as images of another one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.data.randomness import random_order

SIDE = 16
"""Side of the small grey images that are compared."""
MAX_IMAGES = 20_000
"""Largest number of training images that are compared."""
MAX_QUERIES = 2_000
"""Largest number of images of another split that are compared."""
RATIO = 0.2
"""Distance of near copies, as a share of the usual distance to the nearest training image.

Of 8,700 validation and test images of digits, MNIST and Fashion-MNIST, 2 are that close to a
training image by chance. Of copies that are JPEG files of quality 75, 99 % are; at 8 x 8 pixels
14 %.
"""
PART = 256
MIN_CONTRAST = 1e-3


@dataclass(frozen=True)
class NearCopies:
    """Images of a split that have a near copy among the training images.

    Attributes:
        rows: Rows of the images in their split, and of their copies in the training split.
        queries: Number of images that were compared.
        images: Number of training images that they were compared with.
    """

    rows: list[tuple[int, int]]
    queries: int
    images: int

    @property
    def share(self) -> float:
        """Share of the compared images that have a near copy."""
        return len(self.rows) / max(1, self.queries)


def near_copies(train: Tensor, others: Mapping[str, Tensor]) -> dict[str, NearCopies]:
    """Compare images with those of the training split, at any size, brightness and contrast.

    Images become small, grey and standardised. A near copy is much closer to its training image
    than images usually are to the nearest one. Images without contrast are left out.

    Args:
        train: Training images, ``[N, C, H, W]``.
        others: Images of other splits by name, ``[M, C, H, W]``.

    Returns:
        The near copies by split.
    """
    train_rows, train_images = _small_images(train, MAX_IMAGES)
    results = {}
    for name, images in others.items():
        rows, queries = _small_images(images, MAX_QUERIES)
        copies: list[tuple[int, int]] = []
        if len(rows) and len(train_rows):
            distances, nearest = _nearest(queries, train_images)
            usual = float(distances.median())
            for index in (distances < RATIO * usual).nonzero().flatten().tolist():
                copies.append((int(rows[index]), int(train_rows[nearest[index]])))
        results[name] = NearCopies(copies, len(rows), len(train_rows))
    return results


def _small_images(images: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw images, and make them small, grey and standardised.

    Returns:
        Rows of the images with contrast, int64 ``[M]``, and vectors of length 1, ``[M, SIDE^2]``.
    """
    rows = random_order(len(images), 0)[:count].sort().values
    parts = []
    for part in rows.split(PART):
        grey = images[part].float().mean(1, keepdim=True)
        side = min(SIDE, *grey.shape[2:])
        small = functional.interpolate(grey, (side, side), mode="area")
        parts.append(small.flatten(1))
    vectors = torch.cat(parts)
    vectors = vectors - vectors.mean(1, keepdim=True)
    norms = vectors.norm(dim=1)
    has_contrast = norms > MIN_CONTRAST * max(1.0, float(norms.max()))
    return rows[has_contrast], vectors[has_contrast] / norms[has_contrast, None]


def _nearest(queries: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance of each vector to the nearest one, and its number."""
    distances, numbers = [], []
    for part in queries.split(PART):
        similarity, number = (part @ images.T).max(1)
        distances.append((2 - 2 * similarity).clamp(min=0).sqrt())
        numbers.append(number)
    return torch.cat(distances), torch.cat(numbers)
