"""Times at which a training saves checkpoints.

One is saved about 20 times at the end of an epoch, and every minute in between.
"""

import time

from lightning_fabric import Fabric

from limbeck._base.signals import received_signal

EPOCH_CHECKPOINTS = 20
"""Approximate number of checkpoints of a training that are saved at the end of an epoch."""
SAVE_SECONDS = 60.0
"""Number of seconds between checkpoints in the middle of an epoch."""
MAX_SHARE = 0.05
"""Share of the time that saving may take; large models are saved less often than every minute."""
DECISION_SECONDS = 5.0
"""Approximate number of seconds between the decisions of several processes whether to save."""
FAST_SECONDS = 1.0
"""Number of seconds below which a checkpoint is saved when the user interrupts the training."""


class SaveTimes:
    """Times at which a training saves checkpoints.

    Args:
        fabric: Fabric of the training; its first process decides.
        is_enabled: Whether checkpoints are saved at all.
    """

    def __init__(self, fabric: Fabric, *, is_enabled: bool):
        self.fabric, self.is_enabled = fabric, is_enabled
        self._is_fast = False  # not known before the first checkpoint
        self._next_time = time.monotonic() + SAVE_SECONDS
        self._next_decision = 0
        self._last_decision = (time.monotonic(), 0)

    def is_due_after(self, epochs_done: int, epochs: int) -> bool:
        """Whether a checkpoint is saved after so many of the epochs."""
        if not self.is_enabled:
            return False
        return epochs_done % max(1, epochs // EPOCH_CHECKPOINTS) == 0

    def is_due(self, now: float, step: int) -> bool:
        """Whether a checkpoint is saved in the middle of an epoch; the same in all processes.

        Args:
            now: Value of ``time.monotonic()``.
            step: Number of optimizer steps.
        """
        if not self.is_enabled:
            return False
        if self.fabric.world_size == 1:
            # After a signal, the process has a few seconds until it is ended.
            return now >= self._next_time or (self._is_fast and received_signal() is not None)
        if step < self._next_decision:
            return False
        # The clocks of the processes differ, so the first one decides, every few seconds.
        start, first_step = self._last_decision
        steps = DECISION_SECONDS * (step - first_step) / max(now - start, 1e-3)
        self._last_decision = (now, step)
        decision = (now >= self._next_time, step + min(max(int(steps), 1), 1000))
        is_due, self._next_decision = self.fabric.broadcast(decision)
        return is_due

    def add(self, start: float, end: float) -> None:
        """Add a checkpoint that was saved between two values of ``time.monotonic()``."""
        self._next_time = end + max(SAVE_SECONDS, (end - start) / MAX_SHARE)
        self._is_fast = end - start < FAST_SECONDS
