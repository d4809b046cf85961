"""A part of a split, and its images in another size and number of channels."""

import torch
from torch.nn import functional

from limbeck._base.checks import check_count
from limbeck._base.errors import ConfigError
from limbeck.data.dataset import Split

AT_ONCE = 4096
"""Images resized at once."""


def part_of(split: Split, count: int, name: str, seed: int, *, beside: int = 0) -> Split:
    """A random part of a split, the samples in their order.

    Args:
        split: to draw from.
        count: how many samples.
        name: of the setting, for messages.
        seed: of the draw.
        beside: further samples to keep.

    Raises:
        ConfigError: there are not so many.
    """
    most = len(split) - beside
    if check_count(name, count) > most:
        raise ConfigError(f"{name}={count} is more than there are: {most}.")
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    return split.take(order[: count + beside].sort().values)


def fitted(split: Split, *, size: int | None, channels: int) -> Split:
    """A split of grey images resized (bilinear, smoothed where they shrink), and repeated for so
    many channels.

    Args:
        split: uint8 images ``[N, 1, H, W]``.
        size: pixels a side; None to leave them.
        channels: 1 or 3.

    Returns:
        uint8 images ``[N, channels, size, size]``.

    Raises:
        ConfigError: a size is no whole number of at least 1, or the channels are neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise ConfigError(
            f"data.channels={channels!r} should be 1 (grey) or 3 (for models of colour images)."
        )
    images = split.inputs
    if size is not None and (check_count("data.size", size),) * 2 != images.shape[2:]:
        parts = [
            functional.interpolate(part.float(), (size, size), mode="bilinear", antialias=True)
            .round_()
            .byte()
            for part in images.split(AT_ONCE)
        ]
        images = torch.cat(parts)
    return Split(images.repeat(1, channels, 1, 1) if channels > 1 else images, split.labels)
