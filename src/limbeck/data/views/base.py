"""Views: augmentations that can be replayed.

The view of a sample is a pure function of (seed, epoch, sample), and its content is a pure function
of (sample, view). So every process, device and batch size draws the same view, and a teacher's
answer to it can be stored.
"""

import copy
import hashlib
import json
import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.data.randomness import integers_for, replayable_integers

ENDLESS = 1 << 31
"""The ``count`` of a continuous family without a limit."""

_MODULES_IN_KEYS = {
    "limbeck.data.views.base": "limbeck.data.views",
    "limbeck.data.views.combine": "limbeck.data.views",
    "limbeck.data.views.crops": "limbeck.data.crops",
    "limbeck.data.views.distortions": "limbeck.data.distortions",
    "limbeck.data.views.mixup": "limbeck.data.mixup",
}
"""Module names that version 0.1.0 wrote into the keys of stores, which must not change."""


class Views(ABC):
    """A family of views of an input.

    Attributes:
        count: Number of views of a sample; :data:`ENDLESS` for a continuous family.
        mixes: Whether a view mixes two samples.
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
        """The view that does not change an input."""

    @abstractmethod
    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Apply its view to each input.

        Args:
            inputs: Inputs ``[N, ...]``.
            view: Views from 0 to ``count - 1``, int64 ``[N]``.
            sample: Row of each input in the training split, int64 ``[N]``. A continuous family
                draws the parameters of a view from it and from ``view``; others ignore it.

        Returns:
            Tensor of the shape of ``inputs``. uint8 images may become floats from 0 to 1.
        """

    def show(self, inputs: Tensor, sample: Tensor, view: Tensor, pool: Tensor) -> Tensor:
        """Take samples of a split and apply to each its view.

        Args:
            inputs: Inputs of the whole split, ``[M, ...]``.
            sample: Rows of the samples, int64 ``[N]``.
            view: View of each row, int64 ``[N]``.
            pool: Rows that a view may mix in, int64 ``[P]``.

        Returns:
            ``[N, ...]``, as from :meth:`apply`.
        """
        return self.apply(inputs.index_select(0, sample), view, sample)

    def pair(self, sample: Tensor, view: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
        """Return the second sample of each view and the weight of the first.

        Only views that mix samples have this method.

        Args:
            sample: Rows of the split, int64 ``[N]``.
            view: View of each row, int64 ``[N]``.
            pool: Rows that a view may mix in, int64 ``[P]``.

        Returns:
            Rows of the second samples (int64 ``[N]``) and weights of the first ones (float32
            ``[N]``, from 0 to 1). The second sample has the remaining weight.
        """
        raise NotImplementedError(f"{self.name} mixes no samples")

    def limited(self, count: int) -> "Views":
        """Limit an endless family to ``count`` views of each sample.

        These are the views 0 (the plain one) to ``count - 1`` of the endless family. Other
        families are returned unchanged.

        Raises:
            ConfigError: If ``count`` is not a whole number from 1 to 2^31 - 1.
        """
        if self.count != ENDLESS:
            return self
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < ENDLESS:
            raise ConfigError(
                f"The number of views should be a whole number from 1 to {ENDLESS - 1}, got "
                f"{count!r}."
            )
        limited = copy.copy(self)
        limited.count = count
        return limited

    def draw(self, seed: int, epoch: int, index: Tensor) -> Tensor:
        """Draw the view of each sample in one epoch, uniformly over the views.

        Args:
            seed: Seed of a student.
            epoch: Number of the epoch.
            index: Rows of the split, int64 of any shape.

        Returns:
            int64 of the shape of ``index``.
        """
        return replayable_integers(seed, epoch, index) % self.count

    def settings(self) -> dict[str, Any]:
        """Return the settings that identify these views, as plain values for JSON.

        They are the class, ``count`` and the public attributes.
        """
        module = _MODULES_IN_KEYS.get(type(self).__module__, type(self).__module__)
        settings: dict[str, Any] = {
            "kind": f"{module}.{type(self).__qualname__}",
            "count": self.count,
        }
        for name, value in vars(self).items():
            if not name.startswith("_"):
                settings[name] = _plain_value(value)
        return settings

    def __eq__(self, other: object) -> bool:
        """Compare kind and settings."""
        if not isinstance(other, Views) or type(self) is not type(other):
            return False
        return self._text() == other._text()

    def __hash__(self) -> int:
        return hash(self._text())

    def _text(self) -> str:
        return json.dumps(self.settings(), sort_keys=True)


class NoViews(Views):
    """The inputs, unchanged."""

    count = 1
    name = "none"
    plain = 0

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Return the inputs."""
        return inputs


def inner_view(part: Views, purpose: str, sample: Tensor, view: Tensor, *, plain: Tensor) -> Tensor:
    """Draw a view of a family inside another one.

    Args:
        part: The inner family.
        purpose: Name of the role of ``part`` in the outer family.
        sample: Rows of the split, int64 ``[N]``.
        view: Views of the outer family, int64 ``[N]``.
        plain: Whether to use the plain view of ``part``, bool ``[N]``.

    Returns:
        Views of ``part``, int64 ``[N]``.
    """
    inner = integers_for(purpose, sample, view) % part.count
    return torch.where(plain, part.plain, inner)


def check_images(inputs: Tensor, name: str) -> None:
    """Check that inputs are a batch of images.

    Raises:
        ConfigError: If they do not have four dimensions.
    """
    if inputs.ndim != 4:
        raise ConfigError(
            f"views: {name} need images [N, C, H, W], got inputs of shape {list(inputs.shape)}."
        )


def check_number(name: str, value: object, low: float, high: float) -> float:
    """Check a setting of views and return it as a float.

    Raises:
        ConfigError: If it is not a number from ``low`` to ``high``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"views.{name}={value!r} should be a number from {low:g} to {high:g}.")
    return float(value)


def _plain_value(value: object) -> Any:
    """Convert an attribute to a value for JSON; an array becomes the digest of its content."""
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Views):
        return value.settings()
    if isinstance(value, (list, tuple)):
        return [_plain_value(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain_value(part) for key, part in value.items()}
    if isinstance(value, Tensor):
        return _plain_value(value.detach().cpu().numpy())
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value).tobytes()
        return [str(value.dtype), list(value.shape), hashlib.sha256(content).hexdigest()]
    return repr(value)
