"""Random subsets of a split, and conversion of grey images to another size or to three channels."""

import torch
from torch import Tensor
from torch.nn import functional

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError
from limbeck.data.dataset import Split
from limbeck.data.randomness import random_order

_IMAGES_AT_ONCE = 4096


def draw_samples(split: Split, count: int, name: str, seed: int, *, extra: int = 0) -> Split:
    """Draw a random subset of a split, with the samples in their order.

    Args:
        split: Split to draw from.
        count: Number of samples to draw.
        name: Name of the setting, for messages.
        seed: Seed of the draw.
        extra: Number of additional samples to draw, which ``count`` does not include.

    Raises:
        ConfigError: If the split has fewer samples.
    """
    available = len(split) - extra
    if check_count(name, count) > available:
        raise ConfigError(f"{name}={count} is too large: only {available} images are left.")
    order = random_order(len(split), seed)
    return split.take(order[: count + extra].sort().values)


def resize(split: Split, *, size: int | None, channels: int) -> Split:
    """Resize grey images and repeat their channel.

    Resizing is bilinear, with antialiasing where images shrink.

    Args:
        split: Split of uint8 images ``[N, 1, H, W]``.
        size: Pixels per side; None to keep the size.
        channels: Number of channels, 1 or 3.

    Returns:
        uint8 images ``[N, channels, size, size]``.

    Raises:
        ConfigError: If ``size`` is not a whole number of at least 1, or if ``channels`` is neither
            1 nor 3.
    """
    if channels not in (1, 3):
        raise ConfigError(
            f"data.channels={channels!r} should be 1 (grey) or 3 (for models of colour images)."
        )
    images = split.inputs
    if size is not None:
        check_count("data.size", size)
        if images.shape[2:] != (size, size):
            images = torch.cat([_resize(part, size) for part in images.split(_IMAGES_AT_ONCE)])
    if channels > 1:
        images = images.repeat(1, channels, 1, 1)
    return Split(images, split.labels, split.ids)


def _resize(images: Tensor, size: int) -> Tensor:
    pixels = functional.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
    return pixels.round_().byte()
