"""Views: replayable augmentations; what all families share, and chains of them.

Which view a sample gets is a pure function of (seed, epoch, sample index), so that it can be drawn
again by another process, on another device and in batches of another size, and a teacher's answer
to it can be kept. What a view shows is a pure function of (sample, view).
"""

import copy
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.data.dataset import as_float


def _signed(value: int) -> int:
    """The 64-bit pattern ``value`` as the signed integer that int64 tensors hold."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _scramble(z: Tensor) -> Tensor:
    """The finaliser of SplitMix64 on int64 (Steele, Lea and Flood 2014), in place."""
    z = z.bitwise_xor_((z >> 30).bitwise_and_((1 << 34) - 1)).mul_(_FIRST)
    z = z.bitwise_xor_((z >> 27).bitwise_and_((1 << 37) - 1)).mul_(_SECOND)
    return z.bitwise_xor_((z >> 31).bitwise_and_((1 << 33) - 1))


def replayable_bits(*parts: int | Tensor) -> Tensor:
    """64 pseudo-random bits, a pure function of integers; the same on every device.

    Args:
        parts: Python integers and int64 tensors that broadcast against each other, at least one of
            these.

    Returns:
        int64 of the broadcast shape.
    """
    like = next(part for part in parts if isinstance(part, Tensor))
    z = like.new_full((), _GOLDEN, dtype=torch.int64)
    for part in parts:
        z = _scramble(
            (z + (part if isinstance(part, Tensor) else _signed(part % (1 << 64)))).add_(_GOLDEN)
        )
    return z


def replayable_integers(seed: int, epoch: int, index: Tensor) -> Tensor:
    """Pseudo-random integers from 0 to 2^63 - 1, a pure function of their arguments on every
    device.

    Args:
        seed: any integer.
        epoch: any integer.
        index: int64 sample indices, any shape.

    Returns:
        int64, the shape of ``index``.
    """
    return replayable_bits(seed, epoch, index) & ((1 << 63) - 1)


@cache
def stream(name: str) -> int:
    """A number for each name, so that draws for different purposes have nothing to do with each
    other.
    """
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


ENDLESS = 1 << 31
"""The ``count`` of a continuous family that is not limited to some views."""


class Views(ABC):
    """A family of ``count`` views of an input.

    Attributes:
        count: number of views of one sample; :data:`ENDLESS` for a continuous family.
        mixes: whether a view of one sample shows another one too.
    """

    count: int
    mixes: bool = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for tables."""

    @property
    @abstractmethod
    def plain(self) -> int:
        """The view that leaves an input as it is."""

    @abstractmethod
    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Show each input in its view.

        Args:
            inputs: ``[N, ...]``.
            view: int64, ``[N]``, from 0 to ``count - 1``.
            sample: row number of each in the training split, int64 ``[N]``; a continuous family
                draws the view's parameters from it and from ``view``, an enumerable one does not
                need it.

        Returns:
            The shape of ``inputs``; uint8 images may become floats from 0 to 1.
        """

    def show(self, inputs: Tensor, sample: Tensor, view: Tensor, pool: Tensor) -> Tensor:
        """Pick samples of a split and show each in its view.

        Args:
            inputs: of the whole split, ``[M, ...]``.
            sample: rows of it, int64 ``[N]``.
            view: int64 ``[N]``.
            pool: rows that a view may mix in, int64 ``[P]``.

        Returns:
            ``[N, ...]``, as :meth:`apply` gives it.
        """
        return self.apply(inputs.index_select(0, sample), view, sample)

    def pair(self, sample: Tensor, view: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
        """The second sample that each view shows and the weight of the first; only of views that
        mix.

        Args:
            sample: int64 ``[N]``.
            view: int64 ``[N]``.
            pool: rows that a view may mix in, int64 ``[P]``.

        Returns:
            Rows (int64 ``[N]``) and weights (float32 ``[N]``, from 0 to 1; the second sample has
            the rest).
        """
        raise NotImplementedError(f"{self.name} mixes no samples")

    def limited(self, count: int) -> "Views":
        """The same family with ``count`` views of each sample where it is endless; itself where it
        is not.

        The views are numbers 0, the plain one, to ``count - 1`` of the endless family.

        Raises:
            ConfigError: ``count`` is not a whole number from 1 to 2^31 - 1.
        """
        if self.count != ENDLESS:
            return self
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < ENDLESS:
            raise ConfigError(
                f"The number of views should be a whole number from 1 to {ENDLESS - 1}; found "
                f"{count!r}."
            )
        limited = copy.copy(self)
        limited.count = count
        return limited

    def settings(self) -> dict[str, Any]:
        """What tells these views from others, as plain values for JSON: the class, ``count`` and
        public attributes.
        """
        public = {
            name: _as_plain(value) for name, value in vars(self).items() if not name.startswith("_")
        }
        return {
            "kind": f"{type(self).__module__}.{type(self).__qualname__}",
            "count": self.count,
            **public,
        }

    def __eq__(self, other: object) -> bool:
        """Views of one kind with the same settings are the same."""
        return (
            isinstance(other, Views) and type(self) is type(other) and self._text() == other._text()
        )

    def __hash__(self) -> int:
        return hash(self._text())

    def _text(self) -> str:
        return json.dumps(self.settings(), sort_keys=True)

    def draw(self, seed: int, epoch: int, index: Tensor) -> Tensor:
        """The view of each sample in one epoch, int64 of the shape of ``index``, uniform over the
        views.
        """
        return replayable_integers(seed, epoch, index) % self.count


def _as_plain(value: Any) -> Any:
    """An attribute as a value for JSON; arrays by their content's digest."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Views):
        return value.settings()
    if isinstance(value, (list, tuple)):
        return [_as_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _as_plain(part) for key, part in value.items()}
    if isinstance(value, (Tensor, np.ndarray)):
        array = np.ascontiguousarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    return repr(value)


def check_images(inputs: Tensor, what: str) -> None:
    """Check that inputs are a batch of images.

    Raises:
        ConfigError: they are not.
    """
    if inputs.ndim != 4:
        raise ConfigError(
            f"views: {what} need images [N, C, H, W]; found inputs of shape {list(inputs.shape)}."
        )


def checked(name: str, value: object, low: float, high: float) -> float:
    """A setting of views as a float.

    Raises:
        ConfigError: it is not a number from ``low`` to ``high``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"views.{name}={value!r} should be a number from {low:g} to {high:g}.")
    return float(value)


class NoViews(Views):
    """Every input as it is."""

    count = 1
    name = "none"
    plain = 0

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """The inputs themselves."""
        return inputs


class Chain(Views):
    """One family after the other, each with a view of its own.

    Where all families are enumerable, so is their chain: its views are all combinations, the first
    family's the slowest to change. With an endless family the chain is endless too, and a view's
    parts are drawn from (sample, view).

    Args:
        parts: the families, in the order in which they are applied.

    Raises:
        ConfigError: there is none, or one mixes samples.
    """

    def __init__(self, parts: Sequence[Views]):
        if (
            not isinstance(parts, (list, tuple))
            or not parts
            or not all(isinstance(part, Views) for part in parts)
        ):
            raise ConfigError(f"views.parts={parts!r} should be a list of views, at least one.")
        if any(part.mixes for part in parts):
            raise ConfigError(
                "views.parts: one of them mixes samples; make the others its own, as in mixup's "
                "views."
            )
        self.parts = list(parts)
        combinations = math.prod(part.count for part in parts)
        self.count = min(combinations, ENDLESS)
        self._drawn = combinations >= ENDLESS

    @property
    def name(self) -> str:
        """Short name for tables."""
        return " + ".join(part.name for part in self.parts)

    @property
    def plain(self) -> int:
        """The view in which every part shows its plain one."""
        view = 0
        for part in () if self._drawn else self.parts:
            view = view * part.count + part.plain
        return view

    def split(self, view: Tensor, sample: Tensor) -> list[Tensor]:
        """The view of each part, int64 ``[N]``, for views and samples ``[N]`` of the chain."""
        if self._drawn:
            return [
                drawn_view(part, f"chain, part {k}", sample, view, plain=view == self.plain)
                for k, part in enumerate(self.parts)
            ]
        views = []
        for part in reversed(self.parts):
            views.append(view % part.count)
            view = torch.div(view, part.count, rounding_mode="floor")
        return views[::-1]

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Show each input in one view of each part."""
        for part, seen in zip(self.parts, self.split(view, sample), strict=True):
            inputs = part.apply(inputs, seen, sample)
        return inputs


class Choice(Views):
    """One of several families for each view, each as often as the others.

    Bent images are blurred by their interpolation, shifted ones are not: a network that has seen
    bent ones alone may do worse on images as they are. A choice between both shows it sharp ones
    too. The choice is endless; view 0 is plain.

    Args:
        parts: the families.

    Raises:
        ConfigError: there are not two, or one mixes samples.
    """

    count = ENDLESS
    plain = 0

    def __init__(self, parts: Sequence[Views]):
        if (
            not isinstance(parts, (list, tuple))
            or len(parts) < 2
            or not all(isinstance(part, Views) for part in parts)
        ):
            raise ConfigError(f"views.parts={parts!r} should be a list of views, at least two.")
        if any(part.mixes for part in parts):
            raise ConfigError(
                "views.parts: one of them mixes samples; make the others its own, as in mixup's "
                "views."
            )
        self.parts = list(parts)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return " or ".join(part.name for part in self.parts)

    def part_of(self, view: Tensor, sample: Tensor) -> Tensor:
        """Which part shows each (sample, view): its position, int64 of their shape."""
        return integers_for("choice", sample, view) % len(self.parts)

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Show each input in a view of the part that its view chooses; uint8 images as floats from
        0 to 1.
        """
        chosen, shown = self.part_of(view, sample), as_float(inputs)
        shown = shown.clone() if shown is inputs else shown
        for k, part in enumerate(self.parts):
            rows = (chosen == k).nonzero().squeeze(1)
            seen = drawn_view(
                part, f"choice, part {k}", sample[rows], view[rows], plain=view[rows] == self.plain
            )
            shown[rows] = as_float(part.apply(inputs[rows], seen, sample[rows]))
        return shown


def drawn_view(part: Views, purpose: str, sample: Tensor, view: Tensor, *, plain: Tensor) -> Tensor:
    """A view of ``part`` for each (sample, view) of the family that holds it; its plain one where
    ``plain`` is true.
    """
    drawn = integers_for(purpose, sample, view) % part.count
    return torch.where(plain, part.plain, drawn)


def integers_for(purpose: str, sample: Tensor, view: Tensor) -> Tensor:
    """Integers from 0 to 2^63 - 1 for a purpose, a pure function of (sample, view); the shape of
    both broadcast.
    """
    return replayable_bits(stream(purpose), sample, view) & ((1 << 63) - 1)
