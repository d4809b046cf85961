"""Views that combine other views: one after the other, or one of several."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.data.dataset import as_float
from limbeck.data.randomness import integers_for
from limbeck.data.views.base import ENDLESS, Views, inner_view


class Chain(Views):
    """Several families, applied one after the other, each with its own view.

    If all families are enumerable, so is the chain: its views are all combinations, and the first
    family varies slowest. With an endless family the chain is endless, and the view of each part is
    drawn from (sample, view).

    Args:
        parts: Families, in the order in which they are applied.

    Raises:
        ConfigError: If ``parts`` is empty, or if one of them mixes samples.
    """

    def __init__(self, parts: Sequence[Views]):
        self.parts = _check_parts(parts, 1)
        combinations = math.prod(part.count for part in self.parts)
        self.count = min(combinations, ENDLESS)
        self._endless_parts = combinations >= ENDLESS

    @property
    def name(self) -> str:
        """Short name for tables."""
        return " + ".join(part.name for part in self.parts)

    @property
    def plain(self) -> int:
        """The view in which every part is plain."""
        if self._endless_parts:
            return 0
        view = 0
        for part in self.parts:
            view = view * part.count + part.plain
        return view

    def split(self, view: Tensor, sample: Tensor) -> list[Tensor]:
        """Split views of the chain into views of its parts.

        Args:
            view: Views of the chain, int64 ``[N]``.
            sample: Rows of the split, int64 ``[N]``.

        Returns:
            Views of each part, int64 ``[N]`` each.
        """
        views = []
        if self._endless_parts:
            plain = view == self.plain
            for position, part in enumerate(self.parts):
                purpose = f"chain, part {position}"
                views.append(inner_view(part, purpose, sample, view, plain=plain))
            return views
        for part in reversed(self.parts):
            views.append(view % part.count)
            view = torch.div(view, part.count, rounding_mode="floor")
        return views[::-1]

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Apply one view of each part to each input."""
        for part, inner in zip(self.parts, self.split(view, sample), strict=True):
            inputs = part.apply(inputs, inner, sample)
        return inputs


class Choice(Views):
    """One of several families for each view, with equal probability.

    Interpolation in distortions blurs an image, whereas shifts do not. A network that is trained on
    distorted images only may do worse on undistorted images; a choice between both includes sharp
    images. The choice is endless, and view 0 is plain.

    Args:
        parts: Families to choose from.

    Raises:
        ConfigError: If there are fewer than two parts, or if one of them mixes samples.
    """

    count = ENDLESS
    plain = 0

    def __init__(self, parts: Sequence[Views]):
        self.parts = _check_parts(parts, 2)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return " or ".join(part.name for part in self.parts)

    def part_of(self, view: Tensor, sample: Tensor) -> Tensor:
        """Return the index of the part chosen for each (sample, view), int64 ``[N]``."""
        return integers_for("choice", sample, view) % len(self.parts)

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Apply to each input a view of the part that its view chooses.

        Returns:
            Floats of the shape of ``inputs``; uint8 images become floats from 0 to 1.
        """
        position = self.part_of(view, sample)
        images = as_float(inputs)
        if images is inputs:
            images = images.clone()
        for number, part in enumerate(self.parts):
            rows = (position == number).nonzero().squeeze(1)
            plain = view[rows] == self.plain
            purpose = f"choice, part {number}"
            inner = inner_view(part, purpose, sample[rows], view[rows], plain=plain)
            images[rows] = as_float(part.apply(inputs[rows], inner, sample[rows]))
        return images


def _check_parts(parts: Sequence[Views], minimum: int) -> list[Views]:
    """Check the families to combine and return them as a list."""
    is_list = isinstance(parts, (list, tuple))
    if not is_list or len(parts) < minimum or not all(isinstance(part, Views) for part in parts):
        raise ConfigError(f"views.parts={parts!r} should be a list of views, at least {minimum}.")
    for part in parts:
        if part.mixes:
            raise ConfigError(
                f"views.parts: {part.name} mixes samples and cannot be combined with other views. "
                "Set views=mixup and pass the other views as views.views instead."
            )
    return list(parts)
