"""Students whose training diverged."""

import math
from collections.abc import Iterable, Sequence

from limbeck._base.errors import DivergedError


class Divergence:
    """Record of the students whose loss became infinite or not a number.

    Args:
        names: Name of each student, ``[A][S]``; empty for a single student.
    """

    def __init__(self, names: Sequence[Sequence[str]]):
        self.names = names
        self._reasons: dict[tuple[int, int], str] = {}

    @property
    def students(self) -> list[tuple[int, int, str]]:
        """Students that diverged: arm and seed by position, and the reason."""
        return [(arm, seed, reason) for (arm, seed), reason in self._reasons.items()]

    def load(self, students: Iterable[tuple[int, int, str]]) -> None:
        """Replace the students that diverged, as from a checkpoint."""
        self._reasons = {(arm, seed): reason for arm, seed, reason in students}

    def add(self, losses: Sequence[Sequence[float]], epoch: int) -> None:
        """Add the students whose loss of an epoch is not finite.

        Args:
            losses: Mean loss of each student, ``[A][S]``.
            epoch: Number of the epoch, from 0.
        """
        for arm, row in enumerate(losses):
            for seed, loss in enumerate(row):
                if not math.isfinite(loss):
                    self._reasons.setdefault((arm, seed), self._reason(arm, seed, loss, epoch))

    def check(self) -> None:
        """Check that not all students have diverged.

        Raises:
            DivergedError: If all students diverged.
        """
        if len(self._reasons) == sum(map(len, self.names)):
            raise DivergedError(next(iter(self._reasons.values())))

    def _reason(self, arm: int, seed: int, loss: float, epoch: int) -> str:
        name = self.names[arm][seed] or "the student"
        return (
            f"Training diverged: the loss of {name} was {loss} in epoch {epoch + 1}. "
            "Lower optimizer.lr, or clip with trainer.gradient_clip_val=1."
        )
