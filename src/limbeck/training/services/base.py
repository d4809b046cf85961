"""What the loggers of all services have in common.

A service gets one run for a study: the settings at the start, the curves of all arms, and the
results at the end. Whatever a service does, the study goes on: a failure is one warning.
"""

import re
import secrets
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric.loggers import Logger
from lightning_fabric.utilities import rank_zero_only

from limbeck._base.errors import LimbeckWarning
from limbeck._base.files import write_text
from limbeck._base.reading import read_text
from limbeck._base.signals import received_signal

Scalar = bool | int | float | str

CURVES = {
    "train_loss": "training loss",
    "train_hard": "training loss, labels",
    "train_soft": "training loss, teacher",
    "train_feature": "training loss, hidden layers",
    "val_loss": "validation loss",
    "val_acc": "validation accuracy",
}
"""Names of the curves for people."""
_CURVE = re.compile(r"(?P<arm>.+)/seed(?P<seed>-?\d+)/(?P<metric>\w+)", re.DOTALL)
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class StudyResults:
    """The results of a study, as a service shows them.

    Attributes:
        metrics: Test results by name, such as ``test errors/soft``.
        columns: Headings of the table of test results.
        rows: Cells of the table, a row for the teacher and for each arm.
        verdict: Verdict of the headline.
        sentences: Verdicts and warnings in words.
        report: Path of the report.
    """

    metrics: Mapping[str, float]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    verdict: str
    sentences: Sequence[str]
    report: Path

    def markdown(self) -> str:
        """Return the verdict and the table in Markdown."""
        heading = f"| {' | '.join(self.columns)} |"
        line = f"|{' --- |' * len(self.columns)}"
        rows = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in self.rows]
        return "\n\n".join([*self.sentences, "\n".join([heading, line, *rows])])


class StudyLogger(Logger):
    """Logger of a whole study.

    Args:
        service: Name of the service.
        save_dir: Folder of the logs, in which the number of the service's run is kept, so that a
            resumed study continues it.
    """

    def __init__(self, service: str, save_dir: str | Path):
        super().__init__()
        self.service, self.save_dir = service, Path(save_dir)
        self._is_broken = False

    # What a service does --------------------------------------------------------------------------

    @abstractmethod
    def send_settings(self, settings: Mapping[str, Scalar]) -> None:
        """Start the run and send the settings of the study."""

    @abstractmethod
    def send_curves(self, values: Mapping[str, float], epoch: int) -> None:
        """Send values of curves by name."""

    @abstractmethod
    def send_results(self, results: StudyResults) -> None:
        """Send the results of the study."""

    @abstractmethod
    def end(self, status: str) -> None:
        """End the run with the status ``success`` or ``failed``."""

    # What a study calls ---------------------------------------------------------------------------

    def log_settings(self, settings: Mapping[str, Scalar]) -> None:
        """Log the settings of the study, before the first curve."""
        self._attempt(self.send_settings, settings)

    def log_results(self, results: StudyResults) -> None:
        """Log the results of the study."""
        self._attempt(self.send_results, results)

    def close(self, status: str) -> None:
        """End the run with a status, ``success`` or ``failed``."""
        self._attempt(self.end, status)

    # What Fabric calls ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the service."""
        return self.service

    @property
    def version(self) -> str:
        """No version: a run folder has one study."""
        return ""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log values of curves, by the names of the training."""
        if received_signal() is None:
            values = {name: float(value) for name, value in metrics.items()}
            epoch = int(values.pop("epoch", step or 0))
            self._attempt(self.send_curves, curves(values), epoch)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing: the study logs its settings."""

    def finalize(self, status: str) -> None:
        """Do nothing: a cohort has ended, but not the study."""

    # Parts ----------------------------------------------------------------------------------------

    def run_id(self) -> str:
        """Return the identifier of the run at the service, the same after the study is resumed."""
        file = self.save_dir / f"{self.service}.id"
        try:
            identifier = read_text(file).strip()
        except (OSError, ValueError):
            identifier = ""
        if not _ID.fullmatch(identifier):
            identifier = secrets.token_hex(8)
            write_text(file, f"{identifier}\n")
        return identifier

    def _attempt(self, action: Callable[..., None], *arguments: Any) -> None:
        """Call a method of the service; after a failure, warn once and leave it alone."""
        if self._is_broken or getattr(rank_zero_only, "rank", 0) != 0:
            return
        try:
            action(*arguments)
        except Exception as error:  # a service may raise anything, and must not end the study
            self._is_broken = True
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            warnings.warn(
                f"logger {self.service}: {reason}. The study goes on without this logger; its "
                "results are in the run folder.",
                LimbeckWarning,
                stacklevel=3,
            )


def curves(values: Mapping[str, float]) -> dict[str, float]:
    """Name the values of an epoch for people, and add the mean of each arm over its seeds.

    ``soft/seed0/val_acc`` becomes ``validation accuracy/soft/seed 0``, so that a service shows all
    arms in one chart.
    """
    result: dict[str, float] = {}
    by_arm: dict[str, list[float]] = {}
    for name, value in values.items():
        parts = _CURVE.fullmatch(name)
        if parts is None:
            result[name] = value
            continue
        metric = CURVES.get(parts["metric"], parts["metric"])
        arm = f"{metric}/{parts['arm']}"
        result[f"{arm}/seed {parts['seed']}"] = value
        by_arm.setdefault(arm, []).append(value)
    for arm, numbers in by_arm.items():
        if len(numbers) > 1:
            result[f"{arm}/mean"] = sum(numbers) / len(numbers)
    return result
