"""Progress of long stages: bars on a terminal, occasional lines in a log file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from limbeck._base.printable import printable
from limbeck._base.signals import check_interrupt

LOG_SECONDS = 20.0
"""Number of seconds between two lines of a stage in a log file."""


class Advance(Protocol):
    """Callback that reports the progress of a stage."""

    def __call__(self, done: float, note: str = "") -> None:
        """Report progress.

        Args:
            done: Amount of work done so far.
            note: Short text to show next to the progress.
        """


class StageProgress:
    """Progress of the stages of a run, one below the other.

    Args:
        enabled: Whether to show anything.
        console: Console to write to. Standard error by default, so that the results on standard
            output can be piped.
    """

    def __init__(self, *, enabled: bool = True, console: Console | None = None):
        self.enabled = enabled
        self.console = console or Console(stderr=True)

    def say(self, message: str) -> None:
        """Print a line."""
        if self.enabled:
            self.console.print(printable(message), highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, label: str, total: float) -> Iterator[Advance]:
        """Show the progress of one stage.

        Args:
            label: Name of the stage.
            total: Amount of work in the stage.

        Yields:
            A callback that reports progress, and raises an exception if the user has interrupted
            the process.
        """
        if not self.enabled:
            yield _ignore
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
            task = progress.add_task(printable(label), total=total, note="")

            def advance(done: float, note: str = "") -> None:
                check_interrupt()
                progress.update(task, completed=done)
                if note:
                    progress.update(task, note=printable(note))

            yield advance

    def _lines(self, label: str, total: float) -> Advance:
        start = time.monotonic()
        last_line = start

        def advance(done: float, note: str = "") -> None:
            nonlocal last_line
            check_interrupt()
            now = time.monotonic()
            if done < total and now - last_line < LOG_SECONDS:
                return
            last_line = now
            percent = 100 * done / total
            self.say(f"{label}: {percent:.0f} % after {now - start:.0f} s  {note}".rstrip())

        return advance


def _ignore(done: float, note: str = "") -> None:
    """Report nothing."""
    check_interrupt()
