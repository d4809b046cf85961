"""Progress of the long stages: bars on a terminal, a line now and then in a log, nothing when
switched off.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Advance = Callable[..., None]
"""Called with the amount done so far and, by keyword, a ``note`` shown beside it."""

LOG_SECONDS = 20.0


class StageProgress:
    """Shows the stages of a run one below the other.

    Args:
        enabled: show anything at all.
        console: where to; standard error by default, so that results on standard output can be
            piped.
    """

    def __init__(self, *, enabled: bool = True, console: Console | None = None):
        self.enabled = enabled
        self.console = console or Console(stderr=True)

    def say(self, message: str) -> None:
        """Print a line."""
        if self.enabled:
            self.console.print(message, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, label: str, total: float) -> Iterator[Advance]:
        """One stage: yields the function that is told how much is done."""
        if not self.enabled:
            yield lambda done, note="": None
        elif self.console.is_terminal:
            with self._bar(label, total) as advance:
                yield advance
        else:
            yield self._lines(label, total)

    @contextmanager
    def _bar(self, label: str, total: float) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        with Progress(*columns, console=self.console, refresh_per_second=5) as progress:
            task = progress.add_task(label, total=total, note="")
            yield lambda done, note="": progress.update(
                task, completed=done, **({"note": note} if note else {})
            )

    def _lines(self, label: str, total: float) -> Advance:
        began = last = time.monotonic()

        def advance(done: float, note: str = "") -> None:
            nonlocal last
            now = time.monotonic()
            if done >= total or now - last >= LOG_SECONDS:
                last = now
                self.say(
                    f"{label}: {100 * done / total:.0f} % after {now - began:.0f} s  {note}".rstrip()
                )

        return advance
