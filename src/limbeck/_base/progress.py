"""Progress of long stages: bars on a terminal, occasional lines in a log file."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from limbeck._base.addresses import with_addresses
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


class ProgressBoard:
    """Progress of stages that run at the same time.

    Args:
        bars: Bars on a terminal; None to call the functions of ``lines`` instead.
        lines: Function that creates the callback of a stage from its label and amount of work.
    """

    def __init__(self, bars: Progress | None, lines: Callable[[str, float], Advance]):
        self._bars, self._lines = bars, lines
        self._tasks: dict[str, TaskID] = {}
        self._callbacks: dict[str, Advance] = {}

    def add(self, name: str, label: str, total: float) -> None:
        """Show a stage.

        Args:
            name: Name of the stage for the other methods.
            label: Label of the stage.
            total: Amount of work in the stage.
        """
        if self._bars is None:
            self._callbacks[name] = self._lines(label, total)
        else:
            self._tasks[name] = self._bars.add_task(printable(label), total=total, note="")

    def update(self, name: str, done: float, note: str = "") -> None:
        """Show the progress of a stage; a stage that is not shown is ignored."""
        if name in self._callbacks:
            self._callbacks[name](done, note)
        if self._bars is not None and name in self._tasks:
            task = self._tasks[name]
            self._bars.update(task, completed=done)
            if note:
                self._bars.update(task, note=printable(note))

    def remove(self, name: str) -> None:
        """Remove a stage that has ended. Its bar stays above those that are still running."""
        self._callbacks.pop(name, None)
        if self._bars is not None and name in self._tasks:
            task = self._tasks.pop(name)
            total = self._bars.tasks[self._bars.task_ids.index(task)].total
            self._bars.update(task, completed=total)
            self._bars.stop_task(task)


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
            text = printable(with_addresses(message))
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

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
    def board(self) -> Iterator[ProgressBoard]:
        """Show the progress of several stages at the same time.

        Yields:
            A board to which stages are added.
        """
        if not self.enabled:
            yield ProgressBoard(None, lambda label, total: _ignore)
        elif self.console.is_terminal:
            with self._progress() as bars:
                yield ProgressBoard(bars, self._lines)
        else:
            yield ProgressBoard(None, self._lines)

    def _progress(self) -> Progress:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        return Progress(*columns, console=self.console, refresh_per_second=5)

    @contextmanager
    def _bar(self, label: str, total: float) -> Iterator[Advance]:
        with self._progress() as progress:
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
