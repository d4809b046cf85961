"""Mixup: views that mix two samples."""

import torch
from scipy.special import betaincinv
from torch import Tensor

from limbeck._base.errors import ConfigError
from limbeck.data.dataset import as_float
from limbeck.data.randomness import integers_for
from limbeck.data.views.base import ENDLESS, NoViews, Views, check_number, inner_view

QUANTILES = 4096
"""Number of weights in a table, so that a weight is the same on every device."""


class Mixup(Views):
    """Weighted means of two samples: ``weight * x_i + (1 - weight) * x_j``.

    The partner ``j`` is drawn uniformly from the pool and the weight from Beta(alpha, alpha), both
    from (sample, view) alone. Teacher and student see the same mixture. The hard loss uses both
    labels with the same weights. A mixture is labelled if both samples are. View 0 is plain: the
    sample itself.

    Args:
        alpha: Parameter of the beta distribution; 0.001 to 100. With small values one sample
            dominates, with 1 all weights are equally likely, with large values weights are near
            one half.
        views: Views of each sample before it is mixed, drawn separately for each sample; None for
            no views.

    Raises:
        ConfigError: If ``alpha`` is out of range, or if ``views`` mix samples themselves.

    References:
        Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018.
    """

    count = ENDLESS
    plain = 0
    mixes = True

    def __init__(self, alpha: float = 0.2, views: Views | None = None):
        self.alpha = check_number("alpha", alpha, 0.001, 100)
        views = NoViews() if views is None else views
        if not isinstance(views, Views) or views.mixes:
            raise ConfigError(
                f"views.views={views!r} should be views that do not mix samples themselves."
            )
        self.views = views
        probability = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
        quantiles = betaincinv(self.alpha, self.alpha, probability.numpy())
        self._weights = torch.from_numpy(quantiles).float()

    @property
    def name(self) -> str:
        """Short name for tables."""
        return "mixup" if isinstance(self.views, NoViews) else f"mixup of {self.views.name}"

    def pair(self, sample: Tensor, view: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
        """Return partner and weight of each sample, see :meth:`Views.pair`.

        View 0 has the sample itself as partner, and weight 1.
        """
        if self._weights.device != view.device:
            self._weights = self._weights.to(view.device)
        plain = view == self.plain
        partner = pool[integers_for("mixup, partner", sample, view) % len(pool)]
        weight = self._weights[integers_for("mixup, weight", sample, view) % QUANTILES]
        return torch.where(plain, sample, partner), torch.where(plain, 1.0, weight)

    def show(self, inputs: Tensor, sample: Tensor, view: Tensor, pool: Tensor) -> Tensor:
        """Take samples of a split and mix each with its partner from ``pool``.

        Returns:
            Floats ``[N, ...]``; uint8 images become floats from 0 to 1.
        """
        partner, weight = self.pair(sample, view, pool)
        first = as_float(self._show_inner(inputs, sample, view, pool))
        second = as_float(self._show_inner(inputs, partner, view, pool))
        weight = weight.to(first.dtype).view(-1, *[1] * (first.ndim - 1))
        return (weight * first).add_((1 - weight) * second)

    def _show_inner(self, inputs: Tensor, rows: Tensor, view: Tensor, pool: Tensor) -> Tensor:
        plain = view == self.plain
        inner = inner_view(self.views, "mixup, views", rows, view, plain=plain)
        return self.views.show(inputs, rows, inner, pool)

    def apply(self, inputs: Tensor, view: Tensor, sample: Tensor) -> Tensor:
        """Apply the plain view. The other views need a pool, see :meth:`show`.

        Raises:
            ConfigError: If a view is not the plain one.
        """
        if bool((view != self.plain).any()):
            raise ConfigError(
                "views: mixup needs a whole split to draw partners from. Use show() instead of "
                "apply()."
            )
        plain = torch.full_like(view, self.views.plain)
        return as_float(self.views.apply(inputs, plain, sample))
