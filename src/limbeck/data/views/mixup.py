"""Mixup: views that show two samples at once."""

import torch
from scipy.special import betaincinv
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.data.dataset import as_float
from limbeck.data.views.base import ENDLESS, NoViews, Views, checked, drawn_view, integers_for

QUANTILES = 4096
"""Weights in a table, so that drawing one is the same on every device."""


class Mixup(Views):
    """Weighted means of two samples: ``weight * x_i + (1 - weight) * x_j``.

    The partner ``j`` is drawn evenly from the pool, the weight from Beta(alpha, alpha), both from
    (sample, view) alone. Teacher and student see the same mixture. The hard loss has the two labels
    by the same weights; a mixture has labels if both samples have one. View 0 is plain: the sample
    by itself.

    Args:
        alpha: 0.001 to 100. Small values give mostly one of the two, 1 every weight alike, large
            ones halves.
        views: of each of the two before they are mixed; drawn for each by itself.

    Raises:
        ConfigError: ``alpha`` is out of range, or ``views`` mix already.

    References:
        Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018.
    """

    count = ENDLESS
    plain = 0
    mixes = True

    def __init__(self, alpha: float = 0.2, views: Views | None = None):
        self.alpha = checked("alpha", alpha, 0.001, 100)
        views = NoViews() if views is None else views
        if not isinstance(views, Views) or views.mixes:
            raise ConfigError(
                f"views.views={views!r} should be views that do not mix samples themselves."
            )
        self.views = views
        middle = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
        self._weights = torch.from_numpy(betaincinv(self.alpha, self.alpha, middle.numpy())).float()

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "mixup" if isinstance(self.views, NoViews) else f"mixup of {self.views.name}"

    def pair(self, sample: Tensor, view: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
        """Partner and weight of each, see :meth:`Views.pair`; of view 0 the sample itself and 1."""
        plain = view == self.plain
        partner = pool[integers_for("mixup, partner", sample, view) % len(pool)]
        if self._weights.device != view.device:
            self._weights = self._weights.to(view.device)
        weight = self._weights[integers_for("mixup, weight", sample, view) % QUANTILES]
        return torch.where(plain, sample, partner), torch.where(plain, 1.0, weight)

    def show(self, inputs: Tensor, sample: Tensor, view: Tensor, pool: Tensor) -> Tensor:
        """Samples of a split, each mixed with its partner from ``pool``; floats, uint8 images as
        shares of 255.
        """
        partner, weight = self.pair(sample, view, pool)
        first, second = (
            as_float(self._inner(inputs, rows, view, pool)) for rows in (sample, partner)
        )
        weight = weight.to(first.dtype).view(-1, *[1] * (first.ndim - 1))
        return (weight * first).add_((1 - weight) * second)

    def _inner(self, inputs: Tensor, rows: Tensor, view: Tensor, pool: Tensor) -> Tensor:
        seen = drawn_view(self.views, "mixup, views", rows, view, plain=view == self.plain)
        return self.views.show(inputs, rows, seen, pool)

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Inputs in the plain view; the other views need a pool to mix from, and :meth:`show`.

        Raises:
            ConfigError: another view is asked for.
        """
        if bool((view != self.plain).any()):
            raise ConfigError(
                "views: mixup needs the whole split to find a partner in; use show instead of "
                "apply."
            )
        return as_float(self.views.apply(inputs, torch.full_like(view, self.views.plain), sample))
